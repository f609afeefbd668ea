"""What two prints share is found wherever it lies, and what they do not share is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from demucs_core.duplicates.candidates import MIN_HITS, candidate_offsets
from demucs_core.duplicates.keys import sampled_keys
from demucs_core.duplicates.known import KnownPrints
from demucs_core.duplicates.links import links_of
from demucs_core.duplicates.overlap import MIN_ITEMS, find_overlap

Items = NDArray[np.uint32]


def music(seed: int, num_items: int = 300) -> Items:
    """A print of its own."""
    return np.random.default_rng(seed).integers(0, 2**32, num_items, dtype=np.uint32)


def encoded(items: Items, seed: int = 0, differ: float = 0.6) -> Items:
    """The same in another encoding: of some of the numbers, up to three bits differ."""
    rng = np.random.default_rng([seed, len(items)])
    flips = np.bitwise_or.reduce(
        np.uint32(1) << rng.integers(0, 32, (3, len(items)), dtype=np.uint32)
    )
    changed: Items = np.where(rng.random(len(items)) < differ, items ^ flips, items)
    return changed


@given(start=st.integers(0, 150), length=st.integers(90, 150), leader=st.integers(0, 100))
def test_a_cut_in_another_encoding_after_a_leader_is_found_where_it_is(
    start: int, length: int, leader: int
) -> None:
    songs = [music(seed) for seed in range(8)]
    cut = songs[5][start : start + length]
    other = np.concatenate([np.full(leader, 7, np.uint32), encoded(cut), music(99, 50)])
    [(place, overlap)] = KnownPrints(songs).find(other)
    assert place == 5
    assert overlap.other_start - overlap.start == start - leader
    assert abs(overlap.start - leader) < MIN_ITEMS // 2
    assert len(cut) - 2 * MIN_ITEMS < overlap.num_items < len(cut) + MIN_ITEMS
    assert overlap.error_rate < 0.12


def test_a_few_seconds_between_two_hops_are_found() -> None:
    """Hardly a number is as it was, and most differ in a bit; one in sixteen was not known."""
    songs = [music(seed) for seed in range(8)]
    known = KnownPrints(songs)
    for place, song in enumerate(songs):
        for start in range(0, 250, 25):
            cut = song[start : start + 44]
            rng = np.random.default_rng([place, start])
            flips = np.uint32(1) << rng.integers(0, 32, len(cut), dtype=np.uint32)
            [(found, overlap)] = known.find(cut ^ flips)
            assert (found, overlap.other_start - overlap.start) == (place, start)
    for seed in range(100, 130):
        assert known.find(music(seed, 44)) == []


def test_other_music_shares_nothing_nor_does_a_tone_or_silence() -> None:
    tone = np.full(300, 123, np.uint32)
    known = KnownPrints([*(music(seed) for seed in range(30)), tone])
    assert len(known) == 31
    for seed in range(100, 130):
        assert known.find(music(seed)) == []
    assert known.find(tone) == []
    assert find_overlap(tone, tone, 0) is None
    assert find_overlap(music(1), music(1), 280) is None  # too little is laid beside each other
    assert KnownPrints([]).find(music(1)) == []


def test_keys_are_looked_up_wherever_they_stand() -> None:
    items = music(3)
    keys, positions = sampled_keys(items)
    assert 0.4 < len(keys) / len(items) < 0.6
    later, moved = sampled_keys(items[40:])
    assert set(later) == set(keys[positions >= 40])
    assert items[40:][moved].tolist() == later.tolist()


def test_offsets_that_too_few_keys_agree_on_are_no_candidates() -> None:
    prints = np.array([4] * MIN_HITS + [6] * (MIN_HITS - 1) + [2, 2, 2])
    offsets = np.array([9] * MIN_HITS + [1] * (MIN_HITS - 1) + [30, 31, 90])
    assert candidate_offsets(prints, offsets) == [(4, 9)]
    assert candidate_offsets(prints[:0], offsets[:0]) == []


@pytest.mark.parametrize("num_copies", [2, 40])
def test_every_copy_is_linked_with_one_before_it_and_links_are_few(num_copies: int) -> None:
    keys, positions = sampled_keys(music(1))
    count = len(keys)
    links = links_of(
        np.tile(keys, num_copies),
        np.repeat(np.arange(num_copies, dtype=np.int32), count),
        np.tile(positions, num_copies),
        first_new=1,
    )
    assert set(links.prints.tolist()) == set(range(1, num_copies))
    assert (links.others < links.prints).all()
    assert set(links.offsets.tolist()) == {0}
    assert len(links.prints) <= 6 * num_copies * count
