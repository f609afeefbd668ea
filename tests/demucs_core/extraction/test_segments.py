from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from demucs_core.extraction.segments import (
    ExtractionPolicy,
    Segment,
    audible_frames,
    extract_segments,
    threshold_log_odds,
    to_log_odds,
)
from demucs_core.extraction.yields import forecast_yield, usable_seconds, yield_table
from demucs_core.runs import find_runs

Floats = NDArray[np.float32]
Drawn = tuple[list[list[int]], list[bool]]


class Grid(TypedDict):
    hop_samples: int
    sample_rate: int


# One sample a frame and ten frames a second make the arithmetic plain.
GRID: Grid = {"hop_samples": 1, "sample_rate": 10}
POLICY = ExtractionPolicy(min_duration_s=1.0, guard_s=0.2, hysteresis=1.0, max_quiet_s=0.5)
LOUD = -20.0


def rows(*parts: tuple[float, int], sources: int = 1) -> Floats:
    """Probabilities from pairs of (probability, frames), the same for each source."""
    row = np.concatenate([np.full(frames, p, np.float32) for p, frames in parts])
    return np.tile(row, (sources, 1))


def loud(frames: int) -> Floats:
    return np.full(frames, LOUD, np.float32)


def extract(
    probability: Floats,
    level: Floats | None = None,
    thresholds: Sequence[float] | NDArray[np.floating] | None = None,
    policy: ExtractionPolicy = POLICY,
    num_samples: int | None = None,
) -> list[Segment]:
    level = loud(probability.shape[1]) if level is None else level
    thresholds = [0.9] * len(probability) if thresholds is None else thresholds
    return extract_segments(probability, level, thresholds, policy, num_samples=num_samples, **GRID)


tracks = st.integers(1, 120).flatmap(
    lambda frames: st.tuples(
        st.lists(
            st.lists(st.integers(0, 4), min_size=frames, max_size=frames), min_size=3, max_size=3
        ),
        st.lists(st.booleans(), min_size=frames, max_size=frames),
    )
)
# Long runs are rare in independent draws, so repeat each value a few times.
LEVELS = np.array([0.05, 0.5, 0.8, 0.93, 0.999], np.float32)


def build(drawn: Drawn) -> tuple[Floats, Floats]:
    symbols, quiet = drawn
    probability = np.repeat(LEVELS[np.array(symbols)], 4, axis=1)
    level = np.repeat(np.where(quiet, -80.0, LOUD), 4).astype(np.float32)
    return probability, level


def test_a_run_loses_its_guards() -> None:
    (segment,) = extract(rows((0.1, 10), (0.99, 30), (0.1, 10)))
    assert (segment.start_frame, segment.stop_frame) == (12, 38)
    assert (segment.start_sample, segment.stop_sample) == (12, 38)
    assert segment.silent == (0,)
    assert segment.level_db == pytest.approx(LOUD)
    assert segment.mean_probability == pytest.approx([0.99])


def test_hysteresis_extends_but_does_not_open() -> None:
    low = 1 / (1 + math.exp(-(threshold_log_odds(0.9) - 0.9)))
    assert extract(rows((0.1, 10), (low, 30), (0.1, 10))) == []
    (segment,) = extract(rows((0.1, 10), (low, 15), (0.95, 1), (low, 14), (0.1, 10)))
    assert segment.stop_frame - segment.start_frame == 26
    below = 1 / (1 + math.exp(-(threshold_log_odds(0.9) - 1.1)))
    assert extract(rows((0.95, 12), (below, 1), (0.95, 12))) == []


def test_min_length_counts_after_guards() -> None:
    assert extract(rows((0.1, 5), (0.99, 13), (0.1, 5))) == []
    assert len(extract(rows((0.1, 5), (0.99, 14), (0.1, 5)))) == 1


def test_a_long_silence_of_all_parts_a_segment_and_a_short_one_does_not() -> None:
    level = loud(60)
    level[30:35] = -90
    assert len(extract(rows((0.99, 60)), level)) == 1
    level[30:36] = -90
    first, second = extract(rows((0.99, 60)), level)
    assert (first.stop_frame, second.start_frame) == (30, 36)


def test_a_track_silent_altogether_gives_nothing() -> None:
    assert extract(rows((0.99, 60)), np.full(60, -90, np.float32)) == []


def test_the_set_of_silent_sources_is_whole_and_equal_intervals_merge() -> None:
    probability = np.concatenate([rows((0.99, 100), sources=2), rows((0.1, 30), (0.99, 70))])
    both, inner = extract(probability)
    assert (both.start_frame, both.stop_frame, both.silent) == (2, 98, (0, 1))
    assert (inner.start_frame, inner.stop_frame, inner.silent) == (32, 98, (0, 1, 2))


def test_a_refused_source_extracts_nothing_and_is_in_no_set() -> None:
    (segment,) = extract(rows((0.99, 40), sources=2), thresholds=[math.inf, 0.9])
    assert segment.silent == (1,)
    assert extract(rows((1.0, 40)), thresholds=[math.inf]) == []


def test_the_last_frame_may_be_short() -> None:
    (segment,) = extract(
        rows((0.99, 30)), policy=ExtractionPolicy(guard_s=0, min_duration_s=1), num_samples=29
    )
    assert (segment.stop_frame, segment.stop_sample) == (30, 29)


def slow_mask(
    odds: NDArray[np.floating],
    threshold: float,
    gate: NDArray[np.bool_],
    policy: ExtractionPolicy,
    rate: int = 10,
) -> NDArray[np.bool_]:
    """What is extracted of one source, frame by frame, as the policy's text has it."""
    frames = len(odds)
    runs, start = [], None
    for frame in range(frames + 1):
        inside = frame < frames and odds[frame] >= threshold - policy.hysteresis
        if inside and start is None:
            start = frame
        if not inside and start is not None:
            if any(odds[start:frame] >= threshold):
                runs.append((start, frame))
            start = None
    guard = math.ceil(policy.guard_s * rate)
    mask = [False] * frames
    for start, stop in runs:
        for frame in range(start + guard, stop - guard):
            mask[frame] = bool(gate[frame])
    start = None
    for frame in range(frames + 1):
        inside = frame < frames and mask[frame]
        if inside and start is None:
            start = frame
        if not inside and start is not None:
            if frame - start < policy.min_duration_s * rate:
                mask[start:frame] = [False] * (frame - start)
            start = None
    return np.array(mask)


@settings(max_examples=100, deadline=None)
@given(tracks)
def test_segments_are_those_of_the_slow_reference(drawn: Drawn) -> None:
    probability, level = build(drawn)
    odds, gate = to_log_odds(probability), audible_frames(level, POLICY, 10.0)
    masks = [slow_mask(row, threshold_log_odds(0.9), gate, POLICY) for row in odds]
    expected = {}
    for mask in masks:
        for start, stop in zip(*find_runs(mask), strict=True):
            silent = tuple(s for s in range(3) if masks[s][start:stop].all())
            expected[int(start), int(stop)] = silent
    segments = extract(probability, level)
    assert {(s.start_frame, s.stop_frame): s.silent for s in segments} == expected
    assert len(segments) == len(expected)


@settings(max_examples=100, deadline=None)
@given(tracks)
def test_no_segment_nor_its_guards_touch_an_active_frame(drawn: Drawn) -> None:
    probability, level = build(drawn)
    guard = POLICY.guard_frames(10.0)
    floor = threshold_log_odds(0.9) - POLICY.hysteresis
    odds = to_log_odds(probability)
    for segment in extract(probability, level):
        assert segment.stop_sample - segment.start_sample >= POLICY.min_duration_s * 10
        first, last = max(segment.start_frame - guard, 0), segment.stop_frame + guard
        for place, source in enumerate(segment.silent):
            assert (odds[source, first:last] >= floor).all()
            inside = probability[source, segment.start_frame : segment.stop_frame]
            assert segment.min_probability[place] == inside.min()
            assert inside.min() <= segment.mean_probability[place] + 1e-6


@settings(max_examples=60, deadline=None)
@given(tracks, st.permutations(range(3)))
def test_permuting_sources_permutes_the_sets(drawn: Drawn, order: list[int]) -> None:
    probability, level = build(drawn)
    thresholds = np.array([0.7, 0.9, 0.99])
    plain = extract(probability, level, thresholds)
    permuted = extract(probability[order], level, thresholds[order])
    assert [(s.start_frame, s.stop_frame) for s in plain] == [
        (s.start_frame, s.stop_frame) for s in permuted
    ]
    for one, other in zip(plain, permuted, strict=True):
        assert set(one.silent) == {order[source] for source in other.silent}


@settings(max_examples=60, deadline=None)
@given(tracks)
def test_a_higher_threshold_extracts_no_more(drawn: Drawn) -> None:
    probability, level = build(drawn)
    table = yield_table(probability, level, [0.5, 0.9, 0.99], [1.0, 2.0], POLICY, **GRID)
    assert (np.diff(table, axis=0) <= 0).all()
    assert (np.diff(table, axis=1) <= 0).all()


@settings(max_examples=60, deadline=None)
@given(tracks)
def test_the_forecast_is_what_extraction_gives(drawn: Drawn) -> None:
    probability, level = build(drawn)
    segments = extract(probability, level)
    seconds = usable_seconds(segments, 1.0, masked=True, num_sources=3, **GRID)
    table = yield_table(probability, level, [0.9], [1.0], POLICY, **GRID)
    assert seconds == pytest.approx(table[0, 0])


def test_without_masks_only_whole_crops_count() -> None:
    segments = extract(rows((0.99, 59)))
    assert usable_seconds(segments, 2.0, masked=False, num_sources=1, **GRID) == pytest.approx([4])
    assert usable_seconds(segments, 2.0, masked=True, num_sources=1, **GRID) == pytest.approx([5.5])
    assert usable_seconds(segments, 10.0, masked=False, num_sources=1, **GRID) == pytest.approx([0])


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(value: float) -> None:
    probability = rows((0.9, 20))
    probability[0, 3] = value
    with pytest.raises(ValueError, match="probability"):
        extract(probability)


def test_bad_shapes_levels_and_thresholds_are_refused() -> None:
    probability = rows((0.9, 20))
    with pytest.raises(ValueError, match="shape"):
        extract(probability, loud(19))
    with pytest.raises(ValueError, match="level"):
        extract(probability, np.full(20, np.nan, np.float32))
    with pytest.raises(ValueError, match="threshold"):
        extract(probability, thresholds=[math.nan])
    with pytest.raises(ValueError, match="2 thresholds"):
        extract(probability, thresholds=[0.9, 0.9])
    with pytest.raises(ValueError, match="guard_s"):
        ExtractionPolicy(guard_s=-1)


def test_a_forecast_scales_the_sample_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    duration = rng.uniform(100, 300, 40)
    extracted = duration[:, None] * rng.uniform(0, 0.4, (40, 2))
    low, high = forecast_yield(extracted, duration, 3600.0 * 100)
    for forecast in (low, high):
        assert forecast.low_hours < forecast.hours < forecast.high_hours
        assert 10 < forecast.hours < 30
    with pytest.raises(ValueError, match="two or more"):
        forecast_yield(extracted[:1], duration[:1], 100.0)
