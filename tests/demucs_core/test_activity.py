from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demucs_core.activity import (
    FLOOR_DB,
    ActivityConfig,
    active_frames,
    frame_level_db,
    smoothed_level_db,
    stream_level_db,
)

HOP = 16
GRID = (4096, 44_100)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, samples)).astype(np.float32)


def levels(*parts: tuple[float, int]) -> np.ndarray:
    """Levels from pairs of (dB, frames)."""
    return np.concatenate([np.full(frames, db, np.float32) for db, frames in parts])


def test_level_of_a_full_scale_square_wave_is_0_db() -> None:
    assert frame_level_db(np.ones((2, 40), np.float32), HOP) == pytest.approx([0, 0, 0])


def test_one_channel_alone_is_3_db_down() -> None:
    audio = np.stack([np.ones(HOP), np.zeros(HOP)]).astype(np.float32)
    assert frame_level_db(audio, HOP) == pytest.approx([-3.0103], abs=1e-4)


def test_silence_is_the_floor_and_nan_stays() -> None:
    audio = np.zeros((2, 2 * HOP), np.float32)
    audio[0, -1] = np.nan
    first, second = frame_level_db(audio, HOP)
    assert first == FLOOR_DB
    assert np.isnan(second)


def test_a_last_part_of_a_frame_is_measured_by_itself() -> None:
    assert frame_level_db(np.ones((2, HOP + 1), np.float32), HOP)[1] == pytest.approx(0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200), st.lists(st.integers(0, 50), max_size=8))
def test_blocks_give_the_levels_of_the_whole(samples: int, cuts: list[int]) -> None:
    audio = noise(samples)
    edges = [0, *sorted(min(cut, samples) for cut in cuts), samples]
    blocks = [audio[:, a:b] for a, b in pairwise(edges)]
    assert np.array_equal(stream_level_db(blocks, HOP), frame_level_db(audio, HOP))
    assert len(frame_level_db(audio, HOP)) == -(-samples // HOP)


def test_a_source_40_db_below_the_mixture_is_silent() -> None:
    mixture = levels((-10, 60))
    stem = levels((-49, 30), (-51, 30))
    active = active_frames(stem, mixture, ActivityConfig(context_s=0), *GRID)
    assert active.tolist() == [True] * 30 + [False] * 30


def test_the_absolute_floor_holds_in_a_quiet_mixture() -> None:
    mixture = levels((-65, 20))
    assert not active_frames(mixture, mixture, ActivityConfig(), *GRID).any()


def test_a_tail_is_silent_though_the_others_pause_for_a_beat() -> None:
    mixture = levels((-10, 30), (-45, 2), (-10, 30))
    tail = levels((-55, 62))
    assert not active_frames(tail, mixture, ActivityConfig(), *GRID).any()
    assert active_frames(tail, mixture, ActivityConfig(context_s=0), *GRID).any()


def test_short_gaps_are_active_and_long_ones_silent() -> None:
    rate = 44_100 / 4096
    short, long = int(0.5 * rate) - 1, int(0.5 * rate) + 1
    stem = levels((-10, 5), (-90, short), (-10, 5), (-90, long), (-10, 5), (-90, 2))
    active = active_frames(stem, levels((-10, len(stem))), ActivityConfig(), *GRID)
    assert active.tolist() == [True] * (10 + short) + [False] * long + [True] * 5 + [False] * 2


@given(st.lists(st.floats(-100, 0, width=32), min_size=1, max_size=40), st.integers(1, 12))
def test_smoothing_stays_between_the_extremes_and_keeps_a_constant(
    values: list[float], width: int
) -> None:
    level = np.array(values, np.float32)
    smooth = smoothed_level_db(level, width)
    assert (smooth <= level.max() + 1e-3).all()
    assert (smooth >= level.min() - 1e-3).all()
    constant = np.full_like(level, level[0])
    assert smoothed_level_db(constant, width) == pytest.approx(constant, abs=1e-3)


def test_raising_a_stem_never_silences_it() -> None:
    rng = np.random.default_rng(0)
    mixture = rng.uniform(-60, 0, 200).astype(np.float32)
    stem = mixture + rng.uniform(-60, 0, 200).astype(np.float32)
    before = active_frames(stem, mixture, ActivityConfig(), *GRID)
    after = active_frames(stem + np.float32(6), mixture, ActivityConfig(), *GRID)
    assert (after | ~before).all()


def test_levels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="same"):
        active_frames(levels((-1, 3)), levels((-1, 4)), ActivityConfig(), *GRID)
    with pytest.raises(ValueError, match="NaN"):
        active_frames(levels((np.nan, 3)), levels((-1, 3)), ActivityConfig(), *GRID)


@pytest.mark.parametrize(
    "field", [{"relative_db": 0.0}, {"absolute_db": -200.0}, {"close_gap_s": -1.0}]
)
def test_bad_configuration_names_its_field(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        ActivityConfig(**field)
