"""Any number of channels to stereo, or to mono.

ITU-R BS.775-3, annex 4: the fronts as they are, the centre and the surrounds at -3 dB, each on its
side. Low-frequency effects are left out. Sums are not scaled down: audio is float here, and peaks
above full scale are dealt with once for the whole file (:mod:`storage.decoding.canonical`). Mono
is the mean of the two sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

STEREO = 2
_HALF_POWER = 1 / sqrt(2)
_CENTRE, _BACK_CENTRE = (_HALF_POWER, _HALF_POWER), (0.5, 0.5)
_LEFT, _RIGHT = (_HALF_POWER, 0.0), (0.0, _HALF_POWER)
_WEIGHTS = {
    "FL": (1.0, 0.0), "FR": (0.0, 1.0), "DL": (1.0, 0.0), "DR": (0.0, 1.0),
    "FC": _CENTRE, "BC": _BACK_CENTRE, "LFE": (0.0, 0.0), "LFE2": (0.0, 0.0),
    "TC": _BACK_CENTRE, "TFC": _BACK_CENTRE, "TBC": _BACK_CENTRE, "BFC": _BACK_CENTRE,
} | {
    f"{place}{side}": weights
    for side, weights in (("L", _LEFT), ("R", _RIGHT))
    for place in ("B", "S", "W", "TF", "TB", "TS", "SD", "BF")
} | {"FLC": _LEFT, "FRC": _RIGHT}  # fmt: skip
"""Weight in the left and in the right channel, by FFmpeg's abbreviations of speakers."""

_USUAL_ORDER: dict[int, tuple[str, ...]] = {
    2: ("FL", "FR"),
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""The order of WAVE_FORMAT_EXTENSIBLE, for files that do not tell."""


def downmix_matrix(speakers: Sequence[str], num_channels: int) -> NDArray[np.float32]:
    """Weights ``(num_channels, C)`` that take ``C`` channels to stereo, or to mono.

    One channel goes to both sides as it is. Where a speaker is unknown, the usual order of that
    many channels is taken; where there is none, both sides get the mean of all channels.

    Args:
        speakers: FFmpeg's abbreviation for each channel, as ``FL``, ``LFE``, ``SR``.
        num_channels: 1 or 2.

    >>> downmix_matrix(["FL", "FR"], 1).tolist()
    [[0.5, 0.5]]
    """
    matrix = _to_stereo(speakers)
    return matrix if num_channels == STEREO else matrix.mean(axis=0, keepdims=True)


def _to_stereo(speakers: Sequence[str]) -> NDArray[np.float32]:
    num_channels = len(speakers)
    if num_channels == 1:
        return np.ones((STEREO, 1), dtype=np.float32)
    names: Sequence[str] = speakers
    if len(set(speakers)) < num_channels or any(name not in _WEIGHTS for name in speakers):
        names = _USUAL_ORDER.get(num_channels, ())
    matrix = np.array([_WEIGHTS[name] for name in names], dtype=np.float32).T
    if not names or not matrix.any():
        return np.full((STEREO, num_channels), 1 / num_channels, dtype=np.float32)
    return matrix


def downmix(audio: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply a matrix of :func:`downmix_matrix` to ``(C, n)``; what fits already is unchanged."""
    num_channels, num_given = matrix.shape
    if num_channels == num_given and np.array_equal(matrix, np.eye(num_given, dtype=np.float32)):
        return audio
    if num_given == 1:
        return np.repeat(audio.T, num_channels, axis=1).T
    with np.errstate(over="ignore", invalid="ignore"):
        return (audio.T @ matrix.T).T
