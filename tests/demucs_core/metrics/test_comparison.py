from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata

from demucs_core.metrics.comparison import (
    MIN_SONGS,
    Comparison,
    Difference,
    compare_songs,
    holm,
    rank_songs,
)
from demucs_core.metrics.medians import median_sdr

QUICK = 500


def songs(seed: int, num_songs: int, num_sources: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(4, 2, size=(num_songs, num_sources))


def compare(candidate: np.ndarray, reference: np.ndarray) -> Comparison:
    return compare_songs(candidate, reference, num_resamples=QUICK)


def one(differences: np.ndarray) -> Difference:
    """The comparison of one source, in which Holm has nothing to correct."""
    column = np.asarray(differences, dtype=np.float64)[:, None]
    [difference] = compare(column, np.zeros_like(column)).sources
    return difference


def flipped_signs(differences: np.ndarray) -> float:
    """Wilcoxon's two-sided p-value from all assignments of signs, with Pratt's zeros."""
    ranks = rankdata(np.abs(differences))
    kept = differences != 0
    ranks, signs = ranks[kept], np.sign(differences[kept])
    seen = abs(float((ranks * signs).sum()))
    sums = [abs(float(np.dot(ranks, s))) for s in product((-1, 1), repeat=len(ranks))]
    return float(np.mean([each >= seen - 1e-9 for each in sums]))


@given(
    hnp.arrays(
        np.float64, st.integers(MIN_SONGS, 9), elements=st.integers(-4, 4).map(lambda n: n / 2)
    )
)
@settings(max_examples=40, deadline=None)
def test_the_p_value_is_exact_for_few_songs_with_ties_and_zeros(differences: np.ndarray) -> None:
    expected = flipped_signs(differences) if differences.any() else 1.0
    assert one(differences).p_value == pytest.approx(expected)


def test_the_smallest_p_values() -> None:
    rising = np.arange(1.0, 7.0)
    assert one(rising).p_value == pytest.approx(2 / 2**6)
    assert one(rising).shown
    assert np.isnan(one(rising[:5]).p_value)
    assert not one(rising[:5]).shown


def test_equal_methods_do_not_differ() -> None:
    scores = songs(0, 12)
    both = compare(scores, scores)
    for difference in (both.mean, *both.sources):
        assert (difference.median_db, difference.low_db, difference.high_db) == (0, 0, 0)
        assert difference.p_value == 1
        assert not difference.shown


def test_swapping_the_methods_swaps_the_signs() -> None:
    first, second = songs(1, 14), songs(2, 14)
    there, back = compare(first, second), compare(second, first)
    for one_way, other_way in zip(
        (there.mean, *there.sources), (back.mean, *back.sources), strict=True
    ):
        assert one_way.median_db == pytest.approx(-other_way.median_db)
        assert one_way.low_db == pytest.approx(-other_way.high_db)
        assert one_way.p_value == pytest.approx(other_way.p_value)


def test_only_songs_with_scores_of_both_count() -> None:
    first, second = songs(3, 16), songs(4, 16)
    first[2, 1], second[5, 1], second[7, 1] = np.nan, np.nan, np.inf
    both = compare(first, second)
    kept = np.delete(np.arange(16), [2, 5, 7])
    expected = compare(first[kept], second[kept])
    assert [each.num_songs for each in both.sources] == [16, 13, 16, 16]
    assert both.sources[1].median_db == expected.sources[1].median_db
    assert both.sources[1].low_db == expected.sources[1].low_db
    assert both.mean.num_songs == 13
    assert both.mean.p_value == expected.mean.p_value


def test_a_source_that_one_method_lacks_leaves_the_others() -> None:
    first, second = songs(5, 10), songs(6, 10)
    second[:, 0] = np.nan
    both = compare(first, second)
    assert both.sources[0].num_songs == both.mean.num_songs == 0
    assert both.sources[0].verdict == "no song with scores of both"
    assert all(np.isfinite(each.p_value) for each in both.sources[1:])
    alone = compare(first[:, 1:], second[:, 1:])  # the missing test costs the others nothing
    assert [e.p_value for e in both.sources[1:]] == [e.p_value for e in alone.sources]


def test_a_comparison_is_the_same_each_time() -> None:
    first, second = songs(7, 11), songs(8, 11)
    assert repr(compare(first, second)) == repr(compare(first, second))


def test_differences_are_shown_where_there_are_some_and_rarely_where_there_are_none() -> None:
    rng = np.random.default_rng(9)
    noise = rng.normal(0, 1, size=(200, 14))
    false_alarms = np.mean([one(differences).shown for differences in noise])
    found = np.mean([one(differences + 1.2).shown for differences in noise])
    assert false_alarms <= 0.05
    assert found >= 0.9


@pytest.mark.parametrize("num_songs", [6, 8, 14, 50])
def test_the_interval_holds_the_median_as_often_as_it_says(num_songs: int) -> None:
    rng = np.random.default_rng(num_songs)
    intervals = [one(rng.exponential(1, size=num_songs)) for _ in range(400)]
    held = np.mean([each.low_db <= np.log(2) <= each.high_db for each in intervals])
    assert 0.93 <= held <= 0.99


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_never_makes_a_p_value_smaller_nor_changes_their_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert np.all(corrected >= np.array(p_values))
    assert np.all(corrected <= 1)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(corrected[order]) >= 0)
    assert corrected.min() == pytest.approx(min(1, min(p_values) * len(p_values)))


def test_holm_as_r_has_it() -> None:
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.005), "holm") of R 4.3
    assert holm([0.01, 0.02, 0.03, 0.04, 0.005]) == pytest.approx([0.04, 0.06, 0.06, 0.06, 0.025])


def test_sources_are_corrected_for_being_several() -> None:
    reference = songs(11, 8)
    candidate = reference.copy()
    candidate[:, 2] += np.linspace(0.1, 0.8, 8)
    both = compare(candidate, reference)
    assert both.sources[2].p_value == pytest.approx(4 * 2 / 2**8)
    assert both.mean.p_value == pytest.approx(2 / 2**8)


def test_songs_too_few_for_a_source_are_said_to_be() -> None:
    reference = songs(12, 8)
    candidate = reference + np.linspace(0.1, 0.8, 8)[:, None]
    six = compare(candidate[:6], reference[:6])
    assert six.mean.shown
    for each in six.sources:
        assert np.isnan(each.p_value)
        assert not each.shown
        assert (
            each.verdict
            == f"too few songs to tell: median {each.median_db:+.2f} dB on 6 songs, a test needs 8"
        )
    assert all(each.shown for each in compare(candidate, reference).sources)


def test_a_source_with_few_songs_is_tested_where_the_others_leave_it_room() -> None:
    reference = songs(13, 14)
    candidate = reference + np.linspace(0.1, 1.4, 14)[:, None]
    candidate[6:, 0] = np.nan
    few = compare(candidate, reference).sources[0]
    assert few.num_songs == 6
    assert few.p_value == pytest.approx(2 / 2**6)
    assert few.shown


def difference(**changes: Any) -> Difference:
    fields: dict[str, Any] = {
        "differences_db": np.zeros(14),
        "median_db": 0.31,
        "low_db": 0.05,
        "high_db": 0.6,
        "confidence": 0.95,
        "p_value": 0.02,
    }
    return Difference(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "better by 0.31 dB, 95 % interval 0.05 to 0.60, p = 0.020, 14 songs"),
        (
            {"median_db": -0.31, "low_db": -0.6, "high_db": -0.05, "p_value": 1e-5},
            "worse by 0.31 dB, 95 % interval 0.05 to 0.60, p < 0.001, 14 songs",
        ),
        (
            {"low_db": -0.05},
            "no difference shown: median +0.31 dB, 95 % interval -0.05 to 0.60, p = 0.020, "
            "14 songs",
        ),
        (
            {"p_value": 0.06},
            "no difference shown: median +0.31 dB, 95 % interval 0.05 to 0.60, p = 0.060, 14 songs",
        ),
        (
            {"differences_db": np.zeros(1), "p_value": float("nan")},
            "too few songs to tell: median +0.31 dB on 1 song, a test needs 6",
        ),
    ],
)
def test_verdicts(changes: dict[str, object], sentence: str) -> None:
    assert difference(**changes).verdict == sentence


def test_medians_of_no_songs_and_of_missing_sources() -> None:
    assert np.isnan(median_sdr(np.empty((0, 4)))).all()
    medians = median_sdr(np.array([[1.0, np.nan], [3.0, np.nan]]))
    assert medians[0] == 2
    assert np.isnan(medians[1:]).all()
    assert median_sdr(np.array([[1.0, np.inf], [3.0, 4.0]]))[1] == 4


def test_songs_from_the_best_to_the_worst() -> None:
    scores = np.array([[1.0, 1], [9, 9], [np.nan, 20], [5, 5]])
    assert rank_songs(scores).tolist() == [1, 3, 0]
    assert rank_songs(np.empty((0, 4))).tolist() == []


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"same shape .* \(3, 4\) and \(2, 4\)"):
        compare_songs(songs(0, 3), songs(0, 2))
    with pytest.raises(ValueError, match="confidence must be above 0 and below 1, not 95"):
        compare_songs(songs(0, 3), songs(0, 3), confidence=95)
