"""At which offsets two prints may share something: where many of their keys agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_HITS = 3
"""So many keys must agree on an offset, or on one beside it."""

MOST_OFFSETS = 4
"""Of two prints that agree at more offsets, as music that repeats itself does, the best so many are
tried."""


def candidate_offsets(
    prints: NDArray[np.int64], offsets: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Which prints to compare, at which offsets.

    Args:
        prints: the print of each hit, ``(H,)``.
        offsets: by how much the key's place in it is later, ``(H,)``.

    Returns:
        Print and offset, the prints in order, of each the offset with most hits first.
    """
    if not len(prints):
        return []
    order = np.lexsort((offsets, prints))
    prints, offsets = prints[order], offsets[order]
    is_first = np.ones(len(prints), bool)
    is_first[1:] = (prints[1:] != prints[:-1]) | (offsets[1:] != offsets[:-1])
    places = np.flatnonzero(is_first)
    counts = np.diff(np.append(places, len(prints)))
    prints, offsets = prints[places], offsets[places]
    near = counts.copy()
    beside = (prints[1:] == prints[:-1]) & (offsets[1:] == offsets[:-1] + 1)
    near[1:] += counts[:-1] * beside
    near[:-1] += counts[1:] * beside
    found: list[tuple[int, int]] = []
    tried, last = 0, -1
    for place in np.lexsort((-counts, prints)):
        if prints[place] != last:
            tried, last = 0, int(prints[place])
        if near[place] >= MIN_HITS and tried < MOST_OFFSETS:
            tried += 1
            found.append((last, int(offsets[place])))
    return found
