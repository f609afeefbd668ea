"""Which of many prints have a key in common: each is linked with a few that come before it.

All pairs of those that share a key would be the square of how many copies there are. A few of them
tell as much: what is copied a thousand times is linked through those in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 6
"""Prints before it that one is linked with, a key."""


@dataclass(frozen=True)
class Links:
    """Hits of pairs of prints, a row a key they share: ``(H,)`` each.

    Attributes:
        prints: the print that comes later.
        others: the one before it.
        offsets: by how much the key's place in the other is later.
    """

    prints: NDArray[np.int64]
    others: NDArray[np.int64]
    offsets: NDArray[np.int64]


def links_of(
    keys: NDArray[np.uint32],
    prints: NDArray[np.int32],
    positions: NDArray[np.int32],
    first_new: int,
) -> Links:
    """The links among postings, of those prints that are new with those before them.

    Args:
        keys: of all postings with these keys, ``(N,)``.
        prints: whose they are: numbers in the order in which they came.
        positions: at which item of the print each key is.
        first_new: the first number of a print whose links are wanted.
    """
    order = np.lexsort((positions, prints, keys))
    keys, prints, positions = keys[order], prints[order], positions[order].astype(np.int64)
    # of a key that a print repeats, as loops do, the first place is enough
    is_first = np.ones(len(keys), bool)
    is_first[1:] = (keys[1:] != keys[:-1]) | (prints[1:] != prints[:-1])
    keys, prints, positions = keys[is_first], prints[is_first], positions[is_first]
    mine, theirs, offsets = [], [], []
    for distance in range(1, NEIGHBOURS + 1):
        later, earlier = slice(distance, None), slice(None, -distance)
        hit = (
            (keys[later] == keys[earlier])
            & (prints[later] != prints[earlier])
            & (prints[later] >= first_new)
        )
        mine.append(prints[later][hit].astype(np.int64))
        theirs.append(prints[earlier][hit].astype(np.int64))
        offsets.append((positions[earlier] - positions[later])[hit])
    return Links(np.concatenate(mine), np.concatenate(theirs), np.concatenate(offsets))
