from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from demucs_core.extraction.audit import Stratum, draw, estimate, least_score, strata_of


def corpus(rng: np.random.Generator, size: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, seconds and the truth: longer and less sure segments are wrong more often."""
    scores = rng.uniform(0.6, 1.0, size)
    seconds = rng.lognormal(1.5, 0.7, size)
    wrong = np.clip((1 - scores) * seconds / 6, 0, 1)
    return scores, seconds, rng.uniform(size=size) > wrong


def heard(
    scores: np.ndarray, seconds: np.ndarray, truth: np.ndarray, num: int, rng: np.random.Generator
) -> list[Stratum]:
    strata = strata_of(scores, seconds, 4)
    drawn = draw(seconds, strata, num, rng)
    return [
        Stratum(
            least_score=float(scores[strata == number].min()),
            seconds=float(seconds[strata == number].sum()),
            num_draws=int(drawn[strata == number].sum()),
            num_right=int((drawn * truth)[strata == number].sum()),
        )
        for number in range(int(strata.max()) + 1)
    ]


def test_strata_rise_with_the_score_and_hold_about_the_same_seconds() -> None:
    rng = np.random.default_rng(1)
    scores, seconds, _ = corpus(rng)
    strata = strata_of(scores, seconds, 4)
    assert np.all(np.diff(strata[np.argsort(scores)]) >= 0)
    shares = [seconds[strata == number].sum() / seconds.sum() for number in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=0.03)
    same = strata_of(np.ones(10), np.ones(10), 4)
    assert set(same) == {0}
    assert list(strata_of(np.array([0.9, 0.5, 0.5]), np.ones(3), 8)) == [1, 0, 0]


def test_the_estimate_is_of_seconds_and_the_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(2)
    estimates, covered, tight = [], 0, 0
    for _ in range(400):
        scores, seconds, truth = corpus(rng)
        precision = seconds[truth].sum() / seconds.sum()
        found = estimate(heard(scores, seconds, truth, 60, rng), 0.95)
        assert found is not None
        estimates.append(found.precision - precision)
        covered += found.lower <= precision <= found.upper
        tight += found.upper - found.lower < 0.3
    assert np.mean(estimates) == pytest.approx(0, abs=0.01)
    assert covered / 400 >= 0.95
    assert tight == 400


def test_one_stratum_has_the_interval_of_clopper_and_pearson() -> None:
    for right in (0, 7, 20):
        found = estimate([Stratum(least_score=0, seconds=9, num_draws=20, num_right=right)], 0.9)
        exact = binomtest(right, 20).proportion_ci(0.9, method="exact")
        assert found is not None
        assert (found.lower, found.upper) == pytest.approx((exact.low, exact.high))


def test_no_answers_are_no_estimate() -> None:
    empty = Stratum(least_score=0.5, seconds=1, num_draws=0, num_right=0)
    assert estimate([], 0.95) is None
    assert estimate([empty], 0.95) is None
    assert least_score([empty], 0.5, 0.95) is None


def test_the_cut_leaves_out_the_strata_that_are_wrong() -> None:
    def strata(*right: int) -> list[Stratum]:
        return [
            Stratum(least_score=0.6 + 0.1 * number, seconds=10, num_draws=50, num_right=count)
            for number, count in enumerate(right)
        ]

    assert least_score(strata(50, 50, 50), 0.95, 0.95) == pytest.approx(0.6)
    assert least_score(strata(30, 50, 50), 0.95, 0.95) == pytest.approx(0.7)
    assert least_score(strata(30, 30, 50), 0.90, 0.95) == pytest.approx(0.8)
    assert least_score(strata(30, 30, 30), 0.90, 0.95) is None
    assert least_score(strata(0, 0, 3), 0.95, 0.95) is None


def test_a_cut_keeps_its_promise() -> None:
    """Where there is one, what is above it is as precise as asked for, as often as promised."""
    rng = np.random.default_rng(4)
    broken = found = 0
    for _ in range(300):
        scores, seconds, truth = corpus(rng)
        cut = least_score(heard(scores, seconds, truth, 200, rng), 0.85, 0.9)
        if cut is not None:
            found += 1
            kept = scores >= cut
            broken += seconds[kept & truth].sum() / seconds[kept].sum() < 0.85
    assert found > 100
    assert broken / 300 <= 0.1
