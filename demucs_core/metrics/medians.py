"""The figures that a paper prints of a method: medians over songs.

Shape legend: N songs, S sources.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def median_sdr(sdr_ns: FloatArray) -> FloatArray:
    """A method's figures: the median over songs, a source, and after them their mean.

    Args:
        sdr_ns: ``(N, S)`` SDR in dB, each the median over a song's frames; NaN where undefined.

    Returns:
        ``(S + 1,)`` in dB; NaN for a source that no song has a score of, and then for the mean.

    >>> median_sdr(np.array([[1.0, 4.0], [3.0, np.nan], [8.0, 6.0]])).tolist()
    [3.0, 5.0, 4.0]
    """
    medians = np.array([median(column[np.isfinite(column)]) for column in sdr_ns.T])
    return np.append(medians, medians.mean())


def median(values: FloatArray) -> float:
    """The median of values; NaN of none."""
    return float(np.median(values)) if len(values) else float("nan")
