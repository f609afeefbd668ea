"""Compare separation methods song by song: what a difference in their SDR shows, and what not.

Shape legend: N songs, S sources, R resamples of the songs.

The unit of observation is the song, since the frames of one song are not independent. A method's
figure is the median over songs of the median over frames (Stöter, Liutkus and Ito, "The 2018 Signal
Separation Evaluation Campaign", LVA/ICA 2018). Two methods are compared by their differences on the
songs that both have scores for, a test that Demšar, "Statistical Comparisons of Classifiers over
Multiple Data Sets" (JMLR 7, 2006), recommends: Wilcoxon's signed-rank test ("Individual Comparisons
by Ranking Methods", 1945), with Pratt's treatment of zeros (1959). The interval is the bootstrap's
over songs: percentiles (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13;
not BCa, whose acceleration rests on the jackknife, which fails for a median: section 11.6), moved
outwards as Hesterberg has it, "What Teachers Should Know About the Bootstrap" (The American
Statistician 69, 2015), since plain ones of 95 % hold the median of 8 songs 91 % of the time. Holm's
"A Simple Sequentially Rejective Multiple Test Procedure" (1979) corrects the sources' p-values for
being several; the mean over sources is the one question asked first, and stands as it is. The
smallest p-value of a few songs is 2 / 2**N, and the correction multiplies it: where even that is
too large there is no test, and the verdict says how many songs one takes.

>>> rng = np.random.default_rng(0)
>>> reference = rng.normal(4, 2, size=(20, 2))
>>> better = compare_songs(reference + rng.normal(0.5, 0.2, size=(20, 2)), reference).mean
>>> better.shown, round(better.median_db, 1), better.num_songs
(True, 0.5, 20)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from demucs_core.metrics.medians import FloatArray, median

MIN_SONGS = 6
"""Fewest songs that are tested: of 5, all better, the two-sided p-value is still 0.0625."""

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much higher the SDR of one method is than that of another, on the songs of both.

    Attributes:
        differences_db: ``(N,)``, a song each; empty if they have none in common.
        median_db: their median; NaN if there is none.
        low_db: lower end of its bootstrap interval; NaN below :data:`MIN_SONGS` songs.
        high_db: upper end.
        confidence: of the interval, and one less the level of the test.
        p_value: two-sided, that the differences are symmetric about zero; corrected where it is
            one of several; NaN where songs so few can't show a difference.
        needed_songs: fewest that can, if all agree.
    """

    differences_db: FloatArray
    median_db: float
    low_db: float
    high_db: float
    confidence: float
    p_value: float
    needed_songs: int = MIN_SONGS

    @property
    def num_songs(self) -> int:
        """How many songs both methods have scores for."""
        return len(self.differences_db)

    @property
    def shown(self) -> bool:
        """Whether the songs show a difference: the test and the interval both rule out none."""
        excludes_zero = self.low_db > 0 or self.high_db < 0
        return excludes_zero and self.p_value < 1 - self.confidence

    @property
    def verdict(self) -> str:
        """What the songs show, in a sentence that claims no more."""
        if self.num_songs == 0:
            return "no song with scores of both"
        songs = f"{self.num_songs} song{'s' if self.num_songs > 1 else ''}"
        median = f"median {self.median_db:+.2f} dB"
        if not np.isfinite(self.p_value):
            return f"too few songs to tell: {median} on {songs}, a test needs {self.needed_songs}"
        low, high = self.low_db, self.high_db
        if self.shown and self.median_db < 0:
            low, high = -high, -low
        p_value = p_in_words(self.p_value)
        evidence = f"{self.confidence:.0%} interval {low:.2f} to {high:.2f}, {p_value}, {songs}"
        evidence = evidence.replace("%", " %", 1)
        if self.shown:
            direction = "worse" if self.median_db < 0 else "better"
            return f"{direction} by {abs(self.median_db):.2f} dB, {evidence}"
        return f"no difference shown: {median}, {evidence}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method against a reference: a difference a source, and that of the mean over sources."""

    sources: tuple[Difference, ...]
    mean: Difference


def compare_songs(
    candidate_ns: FloatArray,
    reference_ns: FloatArray,
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two methods on the same songs, source by source and in the mean over sources.

    Args:
        candidate_ns: ``(N, S)`` SDR in dB of one method, each the median over a song's frames.
        reference_ns: ``(N, S)`` of the other, with the songs and sources in the same order. A
            value that is not finite in either leaves the song out: for that source, and for the
            mean.
        confidence: of the intervals, and one less the level of the tests.
        num_resamples: of the songs, for the intervals.
        seed: decides the resamples. The same for every comparison, so that none depends on which
            others are made.

    Raises:
        ValueError: shapes that don't fit, or a confidence that is not between 0 and 1.
    """
    if candidate_ns.ndim != 2 or candidate_ns.shape != reference_ns.shape:
        raise ValueError(
            "both methods need scores of the same shape (songs, sources), got "
            f"{candidate_ns.shape} and {reference_ns.shape}"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1, not {confidence}")
    with np.errstate(invalid="ignore"):  # infinite less infinite: not finite, so left out below
        differences = np.asarray(candidate_ns - reference_ns, dtype=np.float64)

    def difference(values: FloatArray) -> Difference:
        finite = values[np.isfinite(values)]
        low, high = _interval(finite, confidence, num_resamples, np.random.default_rng(seed))
        return Difference(
            differences_db=finite,
            median_db=median(finite),
            low_db=low,
            high_db=high,
            confidence=confidence,
            p_value=_signed_rank(finite),
            needed_songs=needed_songs(1, confidence),
        )

    def tested(several: list[Difference]) -> list[Difference]:
        """Correct for being several, and leave out tests that have no chance even so."""
        corrected = holm([each.p_value for each in several])
        smallest = holm(
            [
                2.0 ** (1 - each.num_songs) if np.isfinite(each.p_value) else np.nan
                for each in several
            ]
        )
        num_tests = int(np.isfinite(corrected).sum())
        return [
            replace(
                each,
                p_value=float(p_value) if least < 1 - confidence else float("nan"),
                needed_songs=needed_songs(max(num_tests, 1), confidence),
            )
            for each, p_value, least in zip(several, corrected, smallest, strict=True)
        ]

    [mean] = tested([difference(differences.mean(axis=1))])
    return Comparison(
        sources=tuple(tested([difference(each) for each in differences.T])), mean=mean
    )


def needed_songs(num_tests: int, confidence: float = CONFIDENCE) -> int:
    """Fewest songs that can show a difference in each of several tests, if all songs agree.

    >>> needed_songs(1), needed_songs(4)
    (6, 8)
    """
    num_songs = MIN_SONGS
    while num_tests * 2 / 2**num_songs >= 1 - confidence:
        num_songs += 1
    return num_songs


def p_in_words(p_value: float) -> str:
    """How a p-value is told.

    >>> p_in_words(0.0421), p_in_words(1e-9)
    ('p = 0.042', 'p < 0.001')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def holm(p_values: Sequence[float]) -> FloatArray:
    """Correct p-values for being several, by Holm's step-down procedure.

    NaN stays NaN and counts as no test.

    >>> holm([0.01, 0.04, 0.03, float("nan")]).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    corrected = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(corrected))
    order = tested[np.argsort(corrected[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(corrected[order] * factors), 1.0)
    return corrected


def rank_songs(sdr_ns: FloatArray) -> NDArray[np.int64]:
    """Songs from the best to the worst by the mean over sources; those without it are left out.

    >>> rank_songs(np.array([[1.0, 2.0], [np.nan, 9.0], [5.0, 5.0]])).tolist()
    [2, 0]
    """
    means = sdr_ns.mean(axis=1)
    complete = np.flatnonzero(np.isfinite(means))
    ranked: NDArray[np.int64] = complete[np.argsort(-means[complete], kind="stable")]
    return ranked


def _interval(
    differences: FloatArray, confidence: float, num_resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Hesterberg's expanded percentile interval of the median."""
    from scipy import stats  # what only reads or plots a comparison does not wait for it

    num_songs = len(differences)
    if num_songs < MIN_SONGS:
        return float("nan"), float("nan")
    drawn = rng.integers(num_songs, size=(num_resamples, num_songs))
    medians = np.median(differences[drawn], axis=1)
    expanded = np.sqrt(num_songs / (num_songs - 1)) * stats.t.ppf(
        (1 - confidence) / 2, num_songs - 1
    )
    tail = stats.norm.cdf(expanded)
    low, high = np.quantile(medians, [tail, 1 - tail])
    return float(low), float(high)


def _signed_rank(differences: FloatArray) -> float:
    """Wilcoxon's p-value: exact for few songs (with ties up to 13, else to 50), then normal."""
    from scipy import stats

    if len(differences) < MIN_SONGS:
        return float("nan")
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="pratt", method="auto").pvalue)
