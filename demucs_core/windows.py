"""Stretches of fixed length in frames of a track: the best one by some measure, to listen to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demucs_core.activity import power, to_db


def window_means(values: NDArray[np.floating], num_frames: int) -> NDArray[np.float64]:
    """Means of ``(F,)`` values over every stretch of ``num_frames``: ``(F - num_frames + 1,)``.

    >>> window_means(np.array([1.0, 3.0, 5.0]), 2)
    array([2., 4.])
    """
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return np.asarray((sums[num_frames:] - sums[:-num_frames]) / num_frames)


def best_window(
    values: NDArray[np.floating],
    level_db: NDArray[np.floating],
    num_frames: int,
    *,
    min_level_db: float,
) -> tuple[int, float] | None:
    """The audible stretch with the highest mean value: its first frame, and that mean.

    ``values`` and ``level_db`` of the mixture are ``(F,)``; a stretch whose RMS level is below
    ``min_level_db`` (dBFS) is not audible. A track shorter than ``num_frames`` is one stretch. None
    where nothing is audible.
    """
    num_frames = min(num_frames, len(values))
    if not num_frames:
        return None
    means = window_means(values, num_frames)
    means[to_db(window_means(power(level_db), num_frames)) < min_level_db] = -np.inf
    start = int(np.argmax(means))
    return None if np.isneginf(means[start]) else (start, float(means[start]))
