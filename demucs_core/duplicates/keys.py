"""Which numbers of a print are looked up to find others that may share something with it.

A *key* is one of the print's numbers as it is: in another encoding, or half a hop later, most of
them differ in a bit or more, but a tenth to a half do not, and two pieces of other music have
hardly one in common. Half of all possible keys are looked up, whichever print they come from, so
that what two prints have in common stays in common.
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
    kept = mixed(items) >> np.uint32(32 - KEPT_BITS) == 0
    kept[1:] &= items[1:] != items[:-1]
    positions = np.flatnonzero(kept)
    return items[positions], positions.astype(np.int32)
