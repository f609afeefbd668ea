from __future__ import annotations

import numpy as np
import pytest

from demucs_core.windows import best_window

LOUD_DB, QUIET_DB = -20.0, -90.0


def test_the_best_stretch_is_the_one_that_a_search_finds() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    level_db = np.full(200, LOUD_DB)
    means = [values[start : start + 30].mean() for start in range(171)]
    found = best_window(values, level_db, 30, min_level_db=-45)
    assert found is not None
    assert found[0] == np.argmax(means)
    assert found[1] == pytest.approx(max(means))


def test_what_can_not_be_heard_is_left_out() -> None:
    values = np.concatenate([np.ones(50), np.zeros(50)])
    level_db = np.concatenate([np.full(50, QUIET_DB), np.full(50, LOUD_DB)])
    found = best_window(values, level_db, 20, min_level_db=-45)
    assert found is not None
    assert found[0] > 30  # it reaches into the part that sounds
    assert best_window(values, np.full(100, QUIET_DB), 20, min_level_db=-45) is None


def test_a_short_track_is_one_stretch() -> None:
    assert best_window(np.ones(3), np.full(3, LOUD_DB), 20, min_level_db=-45) == (0, 1.0)
    assert best_window(np.ones(0), np.ones(0), 20, min_level_db=-45) is None
