from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from demucs_core.extraction.precision_bound import (
    ANY_SONGS,
    BoundConfig,
    PrecisionBound,
    largest_promise,
    songs_needed,
)


def bound(
    correct: np.ndarray,
    extracted: np.ndarray,
    config: BoundConfig | None = None,
    seed: int = 0,
    copies: int = 1,
) -> float:
    config = config or BoundConfig(num_bootstrap=2000)
    lower = PrecisionBound(len(correct), config, np.random.default_rng(seed))
    return float(lower.lower(np.array([correct]), np.array([extracted]), copies)[0])


@pytest.mark.parametrize(("songs", "wrong"), [(10, 0), (30, 0), (30, 2), (80, 5)])
def test_songs_right_or_wrong_give_clopper_and_pearson(songs: int, wrong: int) -> None:
    config = BoundConfig(worst_song_error=1.0, num_bootstrap=20_000)
    correct = np.ones(songs)
    correct[:wrong] = 0
    exact = beta.ppf(0.05, songs - wrong, wrong + 1)
    assert bound(correct, np.ones(songs), config) == pytest.approx(exact, abs=0.01)


def test_no_error_seen_is_no_certainty_and_more_songs_say_more() -> None:
    values = [bound(np.ones(n), np.ones(n)) for n in (3, 10, 40, 200)]
    assert values == sorted(values)
    assert values[0] < 0.9
    assert 0.98 < values[2] < values[3] < 1


@pytest.mark.parametrize("assumed", [{}, ANY_SONGS])
def test_the_songs_needed_are_what_the_bound_asks_for(assumed: dict[str, float]) -> None:
    for target in (0.9, 0.95):
        config = BoundConfig(num_bootstrap=10_000, **assumed)
        needed = songs_needed(target, config)
        for songs, met in ((round(needed * 1.25), True), (round(needed * 0.75), False)):
            assert (bound(np.ones(songs), np.ones(songs), config) >= target) == met
        assert largest_promise(needed, config) >= target > largest_promise(needed - 1, config)


def test_no_songs_promise_nothing() -> None:
    assert bound(np.zeros(5), np.zeros(5)) == 0


def test_songs_without_extracts_change_nothing_but_the_draw() -> None:
    few = bound(np.full(20, 9.0), np.full(20, 10.0))
    more = bound(
        np.concatenate([np.full(20, 9.0), np.zeros(20)]),
        np.concatenate([np.full(20, 10.0), np.zeros(20)]),
    )
    assert more == pytest.approx(few, abs=0.01)


def draw_songs(rng: np.random.Generator, songs: int) -> tuple[np.ndarray, np.ndarray]:
    """Songs as they come: most flawless, some a little wrong, a few by a third; lengths vary."""
    extracted = rng.gamma(2.0, 20.0, songs)
    error = np.where(rng.random(songs) < 0.2, rng.beta(1.0, 6.0, songs), 0.0)
    error = np.where(rng.random(songs) < 0.05, rng.uniform(0.2, 0.4, songs), error)
    return extracted * (1 - error), extracted


@pytest.mark.parametrize("songs", [8, 20, 60])
def test_the_promise_is_kept_as_often_as_it_says(songs: int) -> None:
    rng = np.random.default_rng(songs)
    correct, extracted = draw_songs(rng, 200_000)
    truth = correct.sum() / extracted.sum()
    config = BoundConfig(num_bootstrap=400)
    kept = np.mean(
        [bound(*draw_songs(rng, songs), config, seed=trial) <= truth for trial in range(400)]
    )
    # 0.95 less three standard errors of 400 trials.
    assert kept >= 0.917
    # The plain percentile bootstrap, which sees no error among eight songs and promises 1:
    if songs == 8:
        assert kept > _kept_by_plain_bootstrap(rng, songs, truth) + 0.1


def _kept_by_plain_bootstrap(rng: np.random.Generator, songs: int, truth: float) -> float:
    kept = 0
    for _ in range(200):
        correct, extracted = draw_songs(rng, songs)
        picks = rng.integers(songs, size=(200, songs))
        ratios = correct[picks].sum(axis=1) / extracted[picks].sum(axis=1)
        kept += np.quantile(ratios, 0.05) <= truth
    return kept / 200


def all_or_nothing(rng: np.random.Generator, songs: int) -> tuple[np.ndarray, np.ndarray]:
    """Songs all right, or all wrong, and then twice as much is found in them; lengths vary."""
    wrong = rng.random(songs) < 0.1
    extracted = rng.gamma(2.0, 20.0, songs) * np.where(wrong, 2, 1)
    return np.where(wrong, 0.0, extracted), extracted


@pytest.mark.parametrize("songs", [14, 30])
def test_the_promise_is_kept_where_whole_songs_fail(songs: int) -> None:
    rng = np.random.default_rng(songs)
    truth = 0.9 / (0.9 + 0.1 * 2)

    def kept(config: BoundConfig) -> float:
        trials = range(300)
        return float(
            np.mean([bound(*all_or_nothing(rng, songs), config, seed=t) <= truth for t in trials])
        )

    # 0.95 less two standard errors of 300 trials.
    assert kept(BoundConfig(num_bootstrap=400, **ANY_SONGS)) >= 0.925
    # what the default's assumption is worth then
    assert kept(BoundConfig(num_bootstrap=400)) < 0.9


@pytest.mark.parametrize(
    "field",
    [
        {"worst_song_length": 0.0},
        {"confidence": 1.0},
        {"worst_song_error": 0.0},
        {"num_bootstrap": 10},
    ],
)
def test_bad_configuration_names_its_field(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        BoundConfig(**field)
