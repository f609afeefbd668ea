"""Music is called unlike when its scores are, and hardly ever when it is of the same kind."""

from __future__ import annotations

import numpy as np
import pytest

from demucs_core.extraction.likeness import NUM_BINS, FloatArray, compare_spreads, spread

FRAMES, SOURCES = 200, 4
LEVEL_DB = np.zeros(FRAMES, dtype=np.float32)


def songs(num: int, seed: int, shift: float = 0.0) -> list[FloatArray]:
    """Spreads of songs, each of a level of its own; of the second source, shifted."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num):
        log_odds = rng.normal(0, 2, (SOURCES, 1)) + rng.normal(0, 2, (SOURCES, FRAMES))
        log_odds[1] += shift
        one = spread((1 / (1 + np.exp(-log_odds))).astype(np.float32), LEVEL_DB, -45.0)
        assert one is not None
        found.append(one)
    return found


def test_a_spread_is_of_the_frames_that_sound() -> None:
    probability = np.array([[0.5, 0.5, 1.0, 0.0]], dtype=np.float32)
    level_db = np.array([-10, -20, -90, -90], dtype=np.float32)
    found = spread(probability, level_db, -45.0)
    assert found is not None
    assert found.shape == (1, NUM_BINS)
    assert found.max() == found.sum() == 1
    assert spread(probability, level_db - 50, -45.0) is None


def test_songs_of_one_kind_are_hardly_ever_called_unlike() -> None:
    alarms = [
        compare_spreads(songs(8, seed), songs(12, 1000 + seed)).is_unlike for seed in range(150)
    ]
    assert sum(alarms) <= 5, "one in a hundred is expected"


@pytest.mark.parametrize("num_songs", [5, 14])
def test_another_kind_is_told_with_the_source_that_tells(num_songs: int) -> None:
    found = compare_spreads(songs(num_songs, 1), songs(40, 2, shift=5.0))
    assert found.is_unlike
    assert int(np.argmax(found.distance)) == 1
    assert (found.num_songs, found.num_tracks) == (num_songs, 40)


def test_a_few_songs_show_nothing() -> None:
    assert not compare_spreads(songs(2, 1), songs(3, 2, shift=9.0)).is_unlike
    with pytest.raises(ValueError, match="no songs"):
        compare_spreads([], songs(3, 2))
