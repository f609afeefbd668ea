"""What two prints share, once it is known how they lie to each other.

Shapes: a print is ``(N,)`` of 32-bit numbers, one an item. Equal music differs in few of an item's
bits, other music in a third to a half of them; so where the mean over a stretch is low, it is the
same music.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 32
SMOOTH_ITEMS = 32
"""Over so many items, four seconds, errors are averaged before a stretch is taken or left."""

MOST_ERRORS = 0.2
"""Of the bits in such a stretch: more, and it is other music. Generated songs in six encodings, cut
and softer, differ in 0.08 of them at most; ten seconds of two other songs in 0.31 at least."""

MIN_ITEMS = 32
"""What is shared must be so long: four seconds of hops, in which six and a half are heard."""

MIN_CHANGES = 12
"""So many items of it must differ from the one before: a held tone is everybody's."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """A stretch that two prints share.

    Attributes:
        start: its first item in the one.
        other_start: and in the other.
        num_items: its length.
        error_rate: share of the bits that differ in it.
    """

    start: int
    other_start: int
    num_items: int
    error_rate: float


def find_overlap(
    items: NDArray[np.uint32], other: NDArray[np.uint32], offset: int
) -> Overlap | None:
    """The longest stretch that two prints share, if they share one.

    Args:
        items: the one print.
        other: the other one.
        offset: item ``i`` of the one is compared with ``i + offset`` of the other.
    """
    start, stop = max(0, -offset), min(len(items), len(other) - offset)
    if stop - start < MIN_ITEMS:
        return None
    mine, theirs = items[start:stop], other[start + offset : stop + offset]
    errors = np.bitwise_count(mine ^ theirs).astype(np.float64) / BITS
    alike = _smoothed(errors) <= MOST_ERRORS
    edges = np.flatnonzero(np.diff(np.concatenate(([False], alike, [False]))))
    firsts, lasts = edges[::2], edges[1::2]
    if not len(firsts):
        return None
    longest = int(np.argmax(lasts - firsts))
    first, last = int(firsts[longest]), int(lasts[longest])
    changes = int(np.count_nonzero(np.diff(mine[first:last])))
    if last - first < MIN_ITEMS or changes < MIN_CHANGES:
        return None
    return Overlap(
        start=start + first,
        other_start=start + first + offset,
        num_items=last - first,
        error_rate=float(errors[first:last].mean()),
    )


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the window around each value, or what of it there is."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    place = np.arange(len(values))
    low = np.maximum(place - SMOOTH_ITEMS // 2, 0)
    high = np.minimum(place + SMOOTH_ITEMS // 2, len(values))
    means: NDArray[np.float64] = (total[high] - total[low]) / (high - low)
    return means
