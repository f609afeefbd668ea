"""A lower confidence bound of precision over songs, honest with few songs and no errors seen.

Frames of one song are not independent: the same synthesiser fools the detector for minutes. So
the song is the unit. The usual percentile bootstrap over songs says 1.0 whenever no error was
seen, be it in three songs. The bound here is a Bayesian bootstrap with one more song, an imagined
one of the worst kind: songs get random Dirichlet weights, and the bound is a low quantile of the
weighted precision. That is the bound of Gaffke ("Three test statistics for a nonparametric
one-sided hypothesis on the mean of a nonnegative variable", 2005; Learned-Miller and Thomas,
arXiv 1905.06208, who give the evidence that it holds for any distribution), applied to a ratio.
For songs that are all right or all wrong and as long it is the bound of Clopper and Pearson: 149
flawless songs for 0.98 at 95 %.

Two things are assumed of the worst kind of song: how wrong it can be, and how many seconds are
extracted of it. A worse song among those seen replaces the error assumed; the calibration says what
was assumed. The default is a judgement: a quarter wrong, and no longer than others, so that 14
flawless songs promise 0.95. It is too mild for music unlike the songs of the labelled set, which a
detector mistakes from end to end (a singer for a lead instrument), and then it finds more than in
other songs. :data:`ANY_SONGS` is for such music, at 116 songs for 0.95; what each is worth by
simulation is in docs/design.md.
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
        worst_song_length: seconds extracted of such a song, as multiple of the mean over songs.
        num_bootstrap: random weightings of the songs.

    Raises:
        ValueError: a field out of range, by name.
    """

    confidence: float = 0.95
    worst_song_error: float = 0.25
    worst_song_length: float = 1.0
    num_bootstrap: int = 1000

    def __post_init__(self) -> None:
        check_above(self, 0, "confidence", "worst_song_error", "worst_song_length")
        check_below(self, 1, "confidence")
        check_share(self, "worst_song_error")
        check_at_least(self, 100, "num_bootstrap")


ANY_SONGS = {"worst_song_error": 1.0, "worst_song_length": 2.0}
"""What to assume where whole songs may fail: all wrong, and twice as much is extracted of them."""


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
        mean = extracted.sum(axis=1) / np.maximum(num_songs, 1)
        length = self._config.worst_song_length * mean
        seen, imagined = self._weights[:, :-1], self._weights[:, -1:]
        right = copies * (seen @ correct.T) + imagined * length * (1.0 - worst)
        total = copies * (seen @ extracted.T) + imagined * length
        precision = np.divide(right, total, out=np.zeros(right.shape), where=total > 0)
        bound: NDArray[np.float64] = np.quantile(precision, 1.0 - self._config.confidence, axis=0)
        return bound


def songs_needed(target_precision: float, config: BoundConfig) -> int:
    """Songs without a single error that it takes to promise a precision.

    The weight of the imagined song among n real ones follows Beta(1, n); at its quantile, the
    error must not exceed the one allowed.

    >>> songs_needed(0.95, BoundConfig()), songs_needed(0.95, BoundConfig(**ANY_SONGS))
    (14, 116)
    >>> songs_needed(0.98, BoundConfig(worst_song_error=1.0))
    149
    """
    error, length = 1.0 - target_precision, config.worst_song_length
    weight = error / (config.worst_song_error * length - error * (length - 1.0))
    if not 0 < weight < 1:
        return 1
    return math.ceil(math.log(1.0 - config.confidence) / math.log(1.0 - weight) - 1e-9)


def largest_promise(num_songs: int, config: BoundConfig) -> float:
    """The precision that songs without a single error can promise; see :func:`songs_needed`.

    >>> round(largest_promise(36, BoundConfig()), 4)
    0.98
    >>> songs_needed(largest_promise(14, BoundConfig()), BoundConfig())
    14
    >>> round(largest_promise(14, BoundConfig(**ANY_SONGS)), 2)
    0.68
    """
    if num_songs == 0:
        return 0.0
    weight = 1.0 - math.pow(1.0 - config.confidence, 1.0 / num_songs)
    imagined = weight * config.worst_song_length
    return 1.0 - config.worst_song_error * imagined / (1.0 - weight + imagined)
