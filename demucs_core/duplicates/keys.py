"""Which numbers of a print are looked up to find others that may share something with it.

A *key* is one of the print's numbers as it is: in another encoding, or half a hop later, most of
them differ in a bit or more, but a tenth to a half do not, and two pieces of other music have
hardly one in common. Half of all possible keys are looked up, whichever print they come from, so
that what two prints have in common stays in common. Of a short print the numbers beside its keys
are looked up too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KEPT_BITS = 1
"""So many bits of a mixed key must be 0: one in two is looked up."""

_MIXER = np.uint32(0x9E37_79B1)


def mixed(keys: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The keys, each as another number, whose high bits are not alike where keys are."""
    product: NDArray[np.uint32] = keys * _MIXER
    return product


def sampled_keys(items: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """The keys of a print ``(N,)`` that are looked up, ``(K,)``, and which of its numbers they are.

    Of equal numbers in a row, as silence and held tones have them, the first is taken.
    """
    kept = _is_looked_up(items) & _is_first(items)
    positions = np.flatnonzero(kept)
    return items[positions], positions.astype(np.int32)


def near_keys(items: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """As :func:`sampled_keys`, and the keys that differ from one in a bit: 32 times as many.

    A few seconds that begin between two hops may have no three numbers in common as they are.
    """
    firsts = np.flatnonzero(_is_first(items))
    flips = np.concatenate(([0], 1 << np.arange(32))).astype(np.uint32)
    keys = (items[firsts, None] ^ flips).ravel()
    kept = _is_looked_up(keys)
    return keys[kept], np.repeat(firsts, len(flips))[kept].astype(np.int32)


def _is_looked_up(keys: NDArray[np.uint32]) -> NDArray[np.bool_]:
    looked_up: NDArray[np.bool_] = mixed(keys) >> np.uint32(32 - KEPT_BITS) == 0
    return looked_up


def _is_first(items: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which differ from the one before."""
    first = np.ones(len(items), bool)
    first[1:] = items[1:] != items[:-1]
    return first
