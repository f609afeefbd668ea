"""Whether a stem is where it belongs in its mixture, or early or late.

A frame that a decoder lost moves everything after it; a codec's delay moves a whole stem. Then the
mixture is not the sum of its stems any more, and one lag of one of them makes it so again. No other
reason does that: what a limiter or an effect on the sum adds stays, whichever stem is moved.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

AUDIBLE_DB = -25.0
"""Residuals below this are what codecs leave, and no stem is looked at."""

GAIN_DB = 10.0
"""What a lag must take from the residual, to be the reason of it."""


def relative_level_db(residual: NDArray[np.float32], mixture: NDArray[np.float32]) -> float:
    """Level of a residual relative to its mixture; -inf where there is none."""
    left, whole = _energy(residual), _energy(mixture)
    return 10 * math.log10(left / whole) if left and whole else -math.inf


def lag_samples(part: NDArray[np.float32], residual: NDArray[np.float32]) -> int:
    """How late ``part`` is in a sum that ``residual`` is left of; negative is early, 0 unknown.

    Args:
        part: what may be at the wrong place, ``(C, T)``.
        residual: the mixture less all its parts, ``(C, T)``.

    >>> rng = np.random.default_rng(0)
    >>> right = rng.standard_normal((2, 4000)).astype(np.float32)
    >>> early = np.roll(right, -25, axis=1)
    >>> lag_samples(early, right - early)
    -25
    """
    wanted = (part + residual).mean(axis=0, dtype=np.float64)
    given = part.mean(axis=0, dtype=np.float64)
    num_samples = len(given)
    size = 2 * num_samples
    spectrum = np.fft.rfft(wanted, size) * np.conj(np.fft.rfft(given, size))
    match = np.fft.irfft(spectrum, size)
    move = int(np.argmax(match))
    move = move - size if move >= num_samples else move
    if not move or abs(move) > num_samples // 2:
        return 0
    inner = slice(abs(move), num_samples - abs(move))
    moved = np.roll(given, move)[inner]
    before = float(np.square((wanted - given)[inner]).sum())
    after = float(np.square(wanted[inner] - moved).sum())
    return -move if after < before * 10 ** (-GAIN_DB / 10) else 0


def _energy(audio: NDArray[np.float32]) -> float:
    return float(np.square(audio, dtype=np.float64).sum())
