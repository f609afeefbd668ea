"""A lower confidence bound of precision over songs, honest with few songs and no errors seen.

Frames of one song are not independent: the same synthesiser fools the detector for minutes. So
the song is the unit. The usual percentile bootstrap over songs says 1.0 whenever no error was
seen, be it in three songs. The bound here is a Bayesian bootstrap with one more song, an imagined
one of the worst kind: songs get random Dirichlet weights, and the bound is a low quantile of the
weighted precision. That is the bound of Gaffke ("Three test statistics for a nonparametric
one-sided hypothesis on the mean of a nonnegative variable", 2005; Learned-Miller and Thomas,
arXiv 1905.06208, who give the evidence that it holds for any distribution), applied to a ratio.
For songs that are all right or all wrong and a worst song with an error of 1 it is the bound of
Clopper and Pearson: 149 flawless songs for 0.98 at 95 %.

The one assumption is how wrong the worst song can be. At 1.0 there is none, and hardly anyone has
so many songs; the default is a judgement, stated in the calibration. A worse song among those
seen replaces it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demucs_core.configuration import check_above, check_at_least, check_below, check_share


@dataclass(frozen=True, kw_only=True)
class BoundConfig:
    """What is promised, how surely, and on what assumption.

    Attributes:
        confidence: probability with which the true precision is above the bound.
        worst_song_error: share of its extracted seconds that is wrong in the worst kind of song
            there is.
        num_bootstrap: random weightings of the songs.

    Raises:
        ValueError: a field out of range, by name.
    """

    confidence: float = 0.95
    worst_song_error: float = 0.25
    num_bootstrap: int = 1000

    def __post_init__(self) -> None:
        check_above(self, 0, "confidence", "worst_song_error")
        check_below(self, 1, "confidence")
        check_share(self, "worst_song_error")
        check_at_least(self, 100, "num_bootstrap")


class PrecisionBound:
    """The bound for one set of songs; the same random weights serve every threshold and source."""

    def __init__(self, num_songs: int, config: BoundConfig, rng: np.random.Generator) -> None:
        self._config = config
        self._weights = rng.standard_exponential((config.num_bootstrap, num_songs + 1))

    def lower(
        self, correct: NDArray[np.floating], extracted: NDArray[np.floating], copies: int = 1
    ) -> NDArray[np.float64]:
        """Bound for each of H thresholds: seconds ``(H, N)`` right and extracted, to ``(H,)``.

        Songs that nothing was extracted of are no evidence; without any song the bound is 0.
        ``copies`` asks for the bound if each song had been seen so many times.
        """
        songs = extracted > 0
        num_songs = songs.sum(axis=1)
        ratio = np.divide(correct, extracted, out=np.ones(extracted.shape), where=songs)
        worst = np.maximum(self._config.worst_song_error, (1.0 - ratio).max(axis=1, initial=0.0))
        # The imagined song is as long as the mean of those seen.
        length = extracted.sum(axis=1) / np.maximum(num_songs, 1)
        seen, imagined = self._weights[:, :-1], self._weights[:, -1:]
        right = copies * (seen @ correct.T) + imagined * length * (1.0 - worst)
        total = copies * (seen @ extracted.T) + imagined * length
        precision = np.divide(right, total, out=np.zeros(right.shape), where=total > 0)
        bound: NDArray[np.float64] = np.quantile(precision, 1.0 - self._config.confidence, axis=0)
        return bound


def songs_needed(target_precision: float, config: BoundConfig) -> int:
    """Songs without a single error that it takes to promise a precision.

    The weight of the imagined song among n real ones follows Beta(1, n); its quantile times its
    error must not exceed the error allowed.

    >>> songs_needed(0.98, BoundConfig(worst_song_error=1.0))
    149
    >>> songs_needed(0.98, BoundConfig())
    36
    """
    allowed = (1.0 - target_precision) / config.worst_song_error
    if allowed >= 1:
        return 1
    return math.ceil(math.log(1.0 - config.confidence) / math.log(1.0 - allowed) - 1e-9)


def largest_promise(num_songs: int, config: BoundConfig) -> float:
    """The precision that songs without a single error can promise; see :func:`songs_needed`.

    >>> round(largest_promise(36, BoundConfig()), 4)
    0.98
    >>> songs_needed(largest_promise(14, BoundConfig()), BoundConfig())
    14
    """
    if num_songs == 0:
        return 0.0
    weight = 1.0 - math.pow(1.0 - config.confidence, 1.0 / num_songs)
    return 1.0 - config.worst_song_error * weight
