"""Scores as the community exchanges them: museval's JSON, one file a song.

Like museval, it writes NaN for what is not finite (a silent source, a perfect estimate).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

METRICS = ("SDR", "ISR", "SIR", "SAR")
Scores = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""A source's name to its metrics by name, each ``(W,)`` in dB with a value a window."""


def to_museval(scores: Scores, window_s: float, hop_s: float) -> bytes:
    """Frame scores as museval's JSON.

    Args:
        scores: see :data:`Scores`.
        window_s: length of a window in seconds.
        hop_s: time from one window to the next in seconds.

    Raises:
        ValueError: a metric that museval does not know, or lacks.
    """
    targets = []
    for source, metrics in scores.items():
        if set(metrics) != set(METRICS):
            raise ValueError(f"{source}: metrics {sorted(metrics)}, museval has {sorted(METRICS)}")
        num_windows = len(metrics[METRICS[0]])
        frames = [
            {
                "time": window * hop_s,
                "duration": window_s,
                "metrics": {name: _finite(metrics[name][window]) for name in METRICS},
            }
            for window in range(num_windows)
        ]
        targets.append({"name": source, "frames": frames})
    return json.dumps({"targets": targets}, indent=1).encode()


def from_museval(content: str | bytes) -> dict[str, dict[str, NDArray[np.float64]]]:
    """The inverse of :func:`to_museval`; takes null for NaN too.

    Raises:
        ValueError: the JSON is not museval's.
    """
    try:
        return {
            _name(target["name"]): {
                name: np.array([_number(frame["metrics"][name]) for frame in target["frames"]])
                for name in METRICS
            }
            for target in json.loads(content)["targets"]
        }
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not scores in museval's JSON: {error!r}") from error


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name of a target")
    return value


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
