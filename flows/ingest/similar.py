"""Which of many prints share something with one before them, in bounded memory.

Every key of every print goes to a bucket on disk; in a bucket, prints with a key in common are
linked; the links of a pair go to another bucket; where enough of them agree, the two prints are
laid beside each other. Memory holds a bucket, whatever the number of prints.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demucs_core.duplicates.candidates import candidate_offsets
from demucs_core.duplicates.keys import mixed, sampled_keys
from demucs_core.duplicates.links import links_of
from demucs_core.duplicates.overlap import Overlap, find_overlap
from storage.scratch import PREFIX
from storage.tables.buckets import Buckets

Items = NDArray[np.uint32]
Prints = Callable[[], Iterable[tuple[int, Items]]]
"""Gives the prints, each with its number, each time it is called."""

_MIXER = np.uint64(0x9E37_79B9_7F4A_7C15)
_HALF = np.uint64(32)
_MIDDLE = np.uint32(16)


@dataclass(frozen=True)
class Pair:
    """A print and one before it that share something.

    Attributes:
        later: number of the one.
        earlier: number of the other.
        overlap: what they share, the later one first.
        num_items: length of the later one.
    """

    later: int
    earlier: int
    overlap: Overlap
    num_items: int


def find_pairs(prints: Prints, first_new: int) -> Iterator[Pair]:
    """The pairs of prints that share something, the later one new, of each the longest stretch.

    Args:
        prints: all there are, numbered in the order in which they came.
        first_new: the first number of a new one; of those before it only others' matches are told.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        candidates = list(_candidates(_links(prints, first_new, Path(name))))
        wanted = {number for pair in candidates for number in pair[:2]}
        kept = _kept(prints, wanted, Path(name) / "items")
        best: dict[tuple[int, int], Overlap] = {}
        for later, earlier, offset in candidates:
            found = find_overlap(kept[later], kept[earlier], offset)
            known = best.get((later, earlier))
            if found and (known is None or found.num_items > known.num_items):
                best[later, earlier] = found
        for (later, earlier), overlap in sorted(best.items()):
            yield Pair(later, earlier, overlap, len(kept[later]))


def _links(prints: Prints, first_new: int, folder: Path) -> Iterator[NDArray[np.void]]:
    """The links of all pairs, those of a pair in one array."""
    of_new = _keys_of_new(prints, first_new)
    fields = [("key", "<u4"), ("print", "<i4"), ("position", "<i4")]
    postings = Buckets(folder, "postings", fields)
    for number, items in prints():
        keys, positions = sampled_keys(items)
        if of_new is not None and number < first_new:
            there = _isin_sorted(keys, of_new)
            keys, positions = keys[there], positions[there]
        postings.add(mixed(keys) >> _MIDDLE, key=keys, print=number, position=positions)
    links = Buckets(folder, "links", [("print", "<i4"), ("other", "<i4"), ("offset", "<i4")])
    for rows in postings:
        found = links_of(rows["key"], rows["print"], rows["position"], first_new)
        pair = (found.prints.astype(np.uint64) << _HALF) | found.others.astype(np.uint64)
        links.add(
            (pair * _MIXER) >> _HALF, print=found.prints, other=found.others, offset=found.offsets
        )
    yield from links


MOST_KEYS = 2**22
"""Keys of new prints that are held in memory, so that of others only the same ones are taken."""


def _keys_of_new(prints: Prints, first_new: int) -> NDArray[np.uint32] | None:
    """All keys of the new prints; None where there are too many, or no others."""
    if not first_new:
        return None
    found, num_keys = [], 0
    for number, items in prints():
        if number >= first_new:
            keys = sampled_keys(items)[0]
            found.append(keys)
            num_keys += len(keys)
            if num_keys > MOST_KEYS:
                return None
    return np.unique(np.concatenate([np.zeros(0, np.uint32), *found]))


def _isin_sorted(keys: NDArray[np.uint32], known: NDArray[np.uint32]) -> NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(keys), bool)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    there: NDArray[np.bool_] = known[places] == keys
    return there


def _candidates(links: Iterable[NDArray[np.void]]) -> Iterator[tuple[int, int, int]]:
    for rows in links:
        pairs = (rows["print"].astype(np.int64) << 32) | rows["other"]
        for pair, offset in candidate_offsets(pairs, rows["offset"].astype(np.int64)):
            yield pair >> 32, pair & 0xFFFF_FFFF, offset


def _kept(prints: Prints, wanted: set[int], path: Path) -> dict[int, Items]:
    """The prints that are wanted, on disk."""
    places: dict[int, tuple[int, int]] = {}
    position = 0
    with path.open("wb") as file:
        for number, items in prints():
            if number in wanted and len(items):
                items.astype("<u4").tofile(file)
                places[number] = position, position + len(items)
                position += len(items)
    if not position:
        return {}
    whole = np.memmap(path, "<u4", mode="r")
    return {number: whole[start:stop] for number, (start, stop) in places.items()}
