"""A spike in a float file: brought back to full scale, it would take the music down to silence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOT_PEAK = 4.0
"""Peaks up to 12 dB above full scale, as hot mixes have, are never spikes."""

SPIKE_SHARE = 0.001
"""Share of samples that a spike may be; what is left is the music."""

MUSIC_DB = 50.0
"""Music lies less than this below its loudest samples: mixes about 15 dB, sparse drums 40."""

_EXPONENTS = 2 * 160
"""Of float32 ``x = m * 2**e``, ``0.5 <= m < 1``, and some."""


@dataclass(frozen=True)
class Spike:
    """What towers over the music.

    Attributes:
        peak_db: its level above full scale.
        above_db: its level above the rest.
        at_sample: where the largest sample is.
    """

    peak_db: float
    above_db: float
    at_sample: int


def find_spike(
    blocks: Iterable[NDArray[np.float32]], peak: float, audible_db: float
) -> Spike | None:
    """The spike of some audio whose peak is above :data:`HOT_PEAK`, or None if it is music.

    The rest is all but the loudest thousandth of the samples, to the next power of two.

    Args:
        blocks: consecutive ``(C, n)``, without a gain.
        peak: their largest absolute sample.
        audible_db: if the rest is below, re full scale, there is no music that it could hide.
    """
    counts, energy = np.zeros(_EXPONENTS), np.zeros(_EXPONENTS)
    at_sample, position = -1, 0
    for block in blocks:
        values = np.abs(block, dtype=np.float64)
        # of zeros the exponent is 0, as if they were loud
        bins = np.where(values, np.frexp(values)[1] + _EXPONENTS // 2, 0).ravel()
        counts += np.bincount(bins, minlength=_EXPONENTS)
        energy += np.bincount(bins, np.square(values.ravel()), minlength=_EXPONENTS)
        if at_sample < 0 and values.max(initial=0.0) >= peak:
            at_sample = position + int(values.max(axis=0).argmax())
        position += block.shape[1]
    louder_or_equal = np.cumsum(counts[::-1])[::-1]
    rest = louder_or_equal > SPIKE_SHARE * counts.sum()
    power = energy[rest].sum() / max(1.0, counts[rest].sum())
    rest_db = 10 * math.log10(power) if power else -math.inf
    peak_db = 20 * math.log10(peak)
    if rest_db < audible_db or peak_db - rest_db < MUSIC_DB:
        return None
    return Spike(peak_db=peak_db, above_db=peak_db - rest_db, at_sample=at_sample)
