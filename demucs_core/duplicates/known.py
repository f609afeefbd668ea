"""Prints that are held in memory, and what others share with them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from demucs_core.duplicates.candidates import candidate_offsets
from demucs_core.duplicates.keys import near_keys, sampled_keys
from demucs_core.duplicates.overlap import Overlap, find_overlap

Items = NDArray[np.uint32]

SHORT_ITEMS = 256
"""Half a minute: so few numbers that those near them are looked up too."""


class KnownPrints:
    """Prints to compare others with: those of the songs held out, say.

    Args:
        prints: the prints; a match names one by its place.
    """

    def __init__(self, prints: Iterable[Items]) -> None:
        self._prints = list(prints)
        keys = [sampled_keys(items) for items in self._prints]
        owners = [np.full(len(found), place) for place, (found, _) in enumerate(keys)]
        empty = np.zeros(0, np.int64)
        joined = np.concatenate([empty.astype(np.uint32), *(found for found, _ in keys)])
        order = np.argsort(joined, kind="stable")
        self._keys = joined[order]
        self._positions = np.concatenate([empty, *(places for _, places in keys)])[order]
        self._owners = np.concatenate([empty, *owners])[order]

    def __len__(self) -> int:
        return len(self._prints)

    def find(self, items: Items) -> list[tuple[int, Overlap]]:
        """The known prints that share something with a print, and the longest that they share."""
        keys, positions = (near_keys if len(items) <= SHORT_ITEMS else sampled_keys)(items)
        low = np.searchsorted(self._keys, keys, "left")
        counts = np.searchsorted(self._keys, keys, "right") - low
        if not counts.any():
            return []
        # every posting of every key: its run begins at low and is counts long
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        postings = np.repeat(low, counts) + within
        offsets = self._positions[postings] - np.repeat(positions, counts)
        best: dict[int, Overlap] = {}
        for known, offset in candidate_offsets(self._owners[postings], offsets):
            found = find_overlap(items, self._prints[known], offset)
            if found and (known not in best or found.num_items > best[known].num_items):
                best[known] = found
        return sorted(best.items())
