from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from demucs_core.metrics.seeded_comparison import compare_trainings


@pytest.mark.parametrize("num_seeds", [2, 5])
@pytest.mark.parametrize(
    ("seed_db", "song_db", "rest_db"), [(0.3, 0.3, 0.5), (0.5, 0.1, 0.3), (0.0, 0.5, 0.5)]
)
def test_a_difference_that_is_none_is_shown_no_more_often_than_is_said(
    num_seeds: int, seed_db: float, song_db: float, rest_db: float
) -> None:
    rng, num_songs, num_studies = np.random.default_rng(3), 20, 400
    shown = covered = 0
    for _ in range(num_studies):
        found = compare_trainings(
            rng.normal(0, seed_db, size=(num_seeds, 1))
            + rng.normal(0, song_db, size=(1, num_songs))
            + rng.normal(0, rest_db, size=(num_seeds, num_songs))
        )
        shown += found.p_value < 0.05
        covered += found.low_db <= 0 <= found.high_db
    assert shown == num_studies - covered
    # three standard deviations of a share of 0.05 in so many studies
    assert shown / num_studies < 0.05 + 3 * np.sqrt(0.05 * 0.95 / num_studies)


def test_one_seed_is_students_test_over_songs() -> None:
    differences = np.random.default_rng(0).normal(0.3, 0.5, size=(1, 12))
    found = compare_trainings(differences)
    expected = stats.ttest_1samp(differences[0], 0.0)
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low_db, found.high_db) == pytest.approx((interval.low, interval.high))


def test_seeds_that_disagree_show_less_than_seeds_that_agree() -> None:
    songs = np.random.default_rng(1).normal(0.5, 0.2, size=(1, 20))
    agreed = compare_trainings(np.repeat(songs, 5, axis=0))
    apart = compare_trainings(songs + np.array([[-0.8], [-0.4], [0.0], [0.4], [0.8]]))
    assert agreed.mean_db == pytest.approx(apart.mean_db)
    assert agreed.p_value < 1e-6 < 0.05 < apart.p_value


def test_a_song_without_a_score_is_left_out_and_nothing_is_no_error() -> None:
    differences = np.ones((2, 4))
    differences[1, 2] = np.nan
    found = compare_trainings(differences)
    assert (found.num_songs, found.mean_db, found.better_songs) == (3, 1.0, 1.0)
    for empty in (np.ones((0, 4)), np.ones((2, 0)), np.ones((2, 1))):
        assert np.isnan(compare_trainings(empty).p_value)


def test_shapes_and_confidence_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(3,\)"):
        compare_trainings(np.ones(3))
    with pytest.raises(ValueError, match="confidence is 1"):
        compare_trainings(np.ones((2, 3)), confidence=1)
