from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from demucs_core.runs import (
    close_short_gaps,
    counts_before,
    drop_short_runs,
    fill_runs,
    find_runs,
)

masks = st.lists(st.booleans(), max_size=60).map(lambda bits: np.array(bits, dtype=bool))


@given(masks)
def test_fill_is_the_inverse_of_find(mask: np.ndarray) -> None:
    assert np.array_equal(fill_runs(*find_runs(mask), len(mask)), mask)


@given(masks, st.integers(0, 8))
def test_what_is_dropped_is_short_and_what_is_kept_is_long(
    mask: np.ndarray, min_frames: int
) -> None:
    kept = drop_short_runs(mask, min_frames)
    assert not (kept & ~mask).any()
    starts, stops = find_runs(kept)
    assert (stops - starts >= min_frames).all()
    starts, stops = find_runs(mask & ~kept)
    assert (stops - starts < min_frames).all()


@given(masks, st.integers(0, 8))
def test_only_short_gaps_between_runs_are_closed(mask: np.ndarray, min_frames: int) -> None:
    closed = close_short_gaps(mask, min_frames)
    assert not (mask & ~closed).any()
    starts, stops = find_runs(closed & ~mask)
    assert (stops - starts < min_frames).all()
    starts, stops = find_runs(closed)
    assert (starts[1:] - stops[:-1] >= min_frames).all()
    if mask.any():
        outside = np.flatnonzero(mask)
        assert not closed[: outside[0]].any()
        assert not closed[outside[-1] + 1 :].any()
    else:
        assert not closed.any()


@given(masks, st.data())
def test_counts_before_count_a_stretch(mask: np.ndarray, data: st.DataObject) -> None:
    stop = data.draw(st.integers(0, len(mask)))
    start = data.draw(st.integers(0, stop))
    counts = counts_before(mask)
    assert counts[stop] - counts[start] == mask[start:stop].sum()
