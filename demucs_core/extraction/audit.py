"""How precise an extraction is on a corpus of its own, from a few segments that a person heard.

The sample is stratified by score. Within a stratum segments are drawn with replacement and with
probability proportional to their seconds (Hansen and Hurwitz, "On the theory of sampling from
finite populations", 1943), so that the share of right answers estimates the share of right
*seconds*, which is what precision means here, without bias and whatever the lengths. Over strata
the shares are weighted with the strata's seconds.

The intervals are those of Clopper and Pearson (1934) at the effective sample size of the weighting
(Korn and Graubard, "Confidence intervals for proportions with small expected number of positive
counts estimated from survey data", 1998), without the gain that stratification brings: they hold
however few errors were heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Segments of similar score, and what was heard of them.

    Attributes:
        least_score: the segments' least score.
        seconds: of all segments in it, heard or not.
        num_draws: answers, a segment that was drawn twice counted twice.
        num_right: answers that say silent, counted alike.
    """

    least_score: float
    seconds: float
    num_draws: int
    num_right: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Share of the seconds that are silent in truth, with a two-sided interval.

    Attributes:
        precision: the estimate.
        lower: end of the interval.
        upper: end of the interval.
        num_draws: answers it stands on.
    """

    precision: float
    lower: float
    upper: float
    num_draws: int


def strata_of(
    scores: NDArray[np.floating], seconds: NDArray[np.floating], num_strata: int
) -> NDArray[np.int64]:
    """Put segments into strata of about equal seconds, by rising score.

    Args:
        scores: ``(N,)`` how sure the detector is.
        seconds: ``(N,)`` how long each is.
        num_strata: how many at most; equal scores stay together.

    Returns:
        ``(N,)`` the stratum of each, from 0.
    """
    order = np.argsort(scores, kind="stable")
    before = np.empty(len(scores))
    before[order] = np.cumsum(seconds[order]) - seconds[order]
    # equal scores have the place of the first of them
    _, first, which = np.unique(scores[order], return_index=True, return_inverse=True)
    before[order] = before[order][first[which]]
    raw = np.floor(before / seconds.sum() * num_strata).astype(np.int64)
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def draw(
    seconds: NDArray[np.floating],
    strata: NDArray[np.int64],
    num_draws: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw segments: the same number in each stratum, longer ones more often.

    Args:
        seconds: ``(N,)`` how long each is.
        strata: ``(N,)`` the stratum of each.
        num_draws: in all, rounded up to the same number a stratum.
        rng: decides.

    Returns:
        ``(N,)`` how often each was drawn.
    """
    drawn = np.zeros(len(seconds), dtype=np.int64)
    numbers = np.unique(strata)
    for number in numbers:
        inside = np.flatnonzero(strata == number)
        share = seconds[inside] / seconds[inside].sum()
        drawn[inside] = rng.multinomial(-(-num_draws // len(numbers)), share)
    return drawn


def estimate(strata: Sequence[Stratum], confidence: float) -> Estimate | None:
    """The precision of what lies in some strata; None where a stratum has no answers.

    Args:
        strata: all that is asked about.
        confidence: of the two-sided interval.
    """
    from scipy.stats import beta  # whoever extracts without an audit does not wait for it

    if not strata or any(stratum.num_draws == 0 for stratum in strata):
        return None
    weight = np.array([stratum.seconds for stratum in strata])
    weight = weight / weight.sum()
    draws = np.array([stratum.num_draws for stratum in strata])
    right = np.array([stratum.num_right for stratum in strata])
    precision = float(np.sum(weight * right / draws))
    effective = float(1.0 / np.sum(weight**2 / draws))
    heard = precision * effective
    tail = (1.0 - confidence) / 2.0
    # nothing wrong heard leaves nothing above the estimate, and the other way round
    lower = float(beta.ppf(tail, heard, effective - heard + 1)) if precision > 0 else 0.0
    upper = float(beta.ppf(1 - tail, heard + 1, effective - heard)) if precision < 1 else 1.0
    return Estimate(precision=precision, lower=lower, upper=upper, num_draws=int(draws.sum()))


def least_score(
    strata: Sequence[Stratum], target_precision: float, confidence: float
) -> float | None:
    """The least score from which on the seconds are as precise as was asked for.

    It is the edge of a stratum: the lowest one above which the lower bound meets the target. As
    that is the best of several looks at the same answers, each has to be that much surer
    (Bonferroni).

    Args:
        strata: by rising score.
        target_precision: to be met by the lower bound.
        confidence: with which it is met, one-sided.

    Returns:
        The score, or None if not even the surest stratum meets the target, or too few were heard.
    """
    tail = (1.0 - confidence) / max(1, len(strata))
    for first in range(len(strata)):
        found = estimate(strata[first:], 1.0 - 2.0 * tail)
        if found is not None and found.lower >= target_precision:
            return strata[first].least_score
    return None
