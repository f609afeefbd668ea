"""16-bit samples to float32, channel by channel: most of the work of reading a crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PCM_SCALE = 2**15
"""What full scale is in 16 bits."""

SCALE = np.float32(1 / PCM_SCALE)
UNCHANGED = np.float32(1)
BLOCK_SAMPLES = 2**18
"""So many that a block stays in the processor's cache, and few calls are made."""


def deinterleave(
    pcm: NDArray[np.int16], into: NDArray[np.float32], factor: np.float32 = UNCHANGED
) -> None:
    """Write samples ``(T, C)``, little-endian and contiguous, to ``(C, T)``, full scale being 1.

    Times a factor, which costs nothing here, and rounds as a product afterwards would.

    Of stereo, both channels of a sample are taken as one word of 32 bits, of which one is the
    upper half and the other moves there by a shift: twice as fast as every second value.
    """
    if pcm.shape[1] != 2:
        np.multiply(pcm.T, SCALE * factor, out=into, casting="unsafe")
        return
    words = pcm.view("<i4").ravel()
    scratch = np.empty(min(len(words), BLOCK_SAMPLES), dtype=np.int32)
    for start in range(0, len(words), BLOCK_SAMPLES):
        block = words[start : start + BLOCK_SAMPLES]
        shifted, (left, right) = scratch[: len(block)], into[:, start : start + len(block)]
        np.left_shift(block, 16, out=shifted)
        np.copyto(left, shifted, casting="unsafe")  # exact: sixteen bits, whatever their place
        np.multiply(left, SCALE * factor / np.float32(2**16), out=left)
        np.right_shift(block, 16, out=shifted)
        np.copyto(right, shifted, casting="unsafe")
        np.multiply(right, SCALE * factor, out=right)
