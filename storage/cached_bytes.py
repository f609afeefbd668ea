"""Ranges of files that are far away, by way of blocks that are kept on this machine's disk."""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedRandom

from storage.local_cache import LocalCache

BLOCK_BYTES = 4 * 2**20
"""24 s of stereo: as much as comes in the time that a request takes to be answered."""


def cached_bytes(
    cache: LocalCache, key: str, fetch: Callable[[int, int], bytes], start: int, stop: int
) -> bytes:
    """Bytes ``[start, stop)`` of a file that never changes, or fewer at its end.

    Args:
        cache: where blocks are kept.
        key: names the file.
        fetch: ``fetch(start, stop)`` gets bytes of it from where it is.
        start: first byte.
        stop: one past the last.
    """
    pieces = []
    for first in range(start - start % BLOCK_BYTES, stop, BLOCK_BYTES):

        def make(file: BufferedRandom, first: int = first) -> None:
            file.write(fetch(first, first + BLOCK_BYTES))

        with cache.open(f"bytes/{BLOCK_BYTES}/{key}/{first}", make) as block:
            begin = max(start - first, 0)
            block.seek(begin)
            pieces.append(block.read(min(stop - first, BLOCK_BYTES) - begin))
    return b"".join(pieces)
