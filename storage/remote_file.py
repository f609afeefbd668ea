"""Files of a workspace that is elsewhere, by way of copies on this machine's disk.

A file is kept by its address, its size and what the store calls its state, so that one that was
written anew is another. Listings tell both: who reads what a listing named asks the store for
nothing that is kept. What is not, is got in blocks, and what comes after it at the same time.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from functools import lru_cache
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from storage.errors import UserError
from storage.local_cache import LocalCache, cache_folder
from storage.workspace import Version, Workspace

CACHE_GB = 8.0
CACHE_GB_VARIABLE = "SILENTMIX_CACHE_GB"
BLOCK_BYTES = 8 * 2**20
"""As much as one request asks for; most parts of manifests are smaller."""
AHEAD = 16
"""Requests at the same time."""
AHEAD_BYTES = 32 * 2**20
"""Together, of those at the same time."""
_CRC_BYTES = 4


def open_remote(workspace: Workspace, path: str) -> BufferedReader:
    """Open a file of a workspace that is not on this machine's disks.

    Raises:
        FileNotFoundError: it is not there.
        UserError: it is written anew while it is read, or copies can't be kept here.
    """
    return BufferedReader(RemoteFile(workspace, path))


class _Block(NamedTuple):
    path: str
    version: Version
    start: int

    @property
    def stop(self) -> int:
        return min(self.start + BLOCK_BYTES, self.version.num_bytes)


class RemoteFile(RawIOBase):
    """The bytes of a file as it was when it was listed, or else is now."""

    def __init__(self, workspace: Workspace, path: str) -> None:
        self._workspace, self._path = workspace, path
        self._version = workspace.version(path)
        self._cache = None if workspace.reads_anew else parts_cache()
        self._position = 0
        self._start, self._content = -1, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place that is read next."""
        return self._position

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        """Go to a place."""
        origin = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._version.num_bytes}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read as much as is at hand."""
        if self._position >= self._version.num_bytes:
            return 0
        start = self._position // BLOCK_BYTES * BLOCK_BYTES
        if start != self._start:
            self._content = self._read(_Block(self._path, self._version, start))
            self._start = start
        found = self._content[self._position - start :][: len(buffer)]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def discard(self) -> None:
        """Take what is kept of it away, so that the next reader asks the store."""
        self._start = -1
        for start in range(0, self._version.num_bytes, BLOCK_BYTES):
            self._forget(_Block(self._path, self._version, start))

    def _read(self, block: _Block) -> bytes:
        kept = self._kept(block)
        if kept is not None:
            return kept
        wanted = [block, *self._ahead(block)]
        found = self._workspace.fs.cat_ranges(
            [self._workspace.resolve(each.path) for each in wanted],
            [each.start for each in wanted],
            [each.stop for each in wanted],
            on_error="return",
        )
        for each, content in zip(wanted, found, strict=True):
            if isinstance(content, bytes) and len(content) == each.stop - each.start:
                self._keep(each, content)
        if isinstance(found[0], Exception):
            raise found[0]
        if len(found[0]) != block.stop - block.start:
            raise UserError(
                f"{self._workspace.url(self._path)}: changed while it was read; run the same "
                "command again"
            )
        return bytes(found[0])

    def _ahead(self, block: _Block) -> Iterator[_Block]:
        """What is read after a block, as far as it is known, small, and not kept yet."""
        if self._cache is None:
            return
        left = AHEAD_BYTES - (block.stop - block.start)
        for each in islice(self._after(block), AHEAD - 1):
            left -= each.stop - each.start
            if left < 0:
                return
            if not self._cache.has(self._key(each)):
                yield each

    def _after(self, block: _Block) -> Iterator[_Block]:
        path, version, start = block
        for later in range(start + BLOCK_BYTES, version.num_bytes, BLOCK_BYTES):
            yield _Block(path, version, later)
        for other, listed in self._workspace.listed_after(path):
            if listed.num_bytes > BLOCK_BYTES:
                return
            yield _Block(other, listed, 0)

    def _key(self, block: _Block) -> str:
        url = self._workspace.url(block.path)
        return f"file/{BLOCK_BYTES}/{url}/{block.version}/{block.start}"

    def _kept(self, block: _Block) -> bytes | None:
        """A block of which there is a copy that is what was written."""
        if self._cache is None:
            return None
        entry = self._cache.find(self._key(block))
        if entry is None:
            return None
        with entry:
            content = entry.read()
        content, crc = content[:-_CRC_BYTES], content[-_CRC_BYTES:]
        is_whole = len(content) == block.stop - block.start
        if is_whole and zlib.crc32(content).to_bytes(_CRC_BYTES, "little") == crc:
            return content
        self._forget(block)
        return None

    def _keep(self, block: _Block, content: bytes) -> None:
        if self._cache is not None and block.version.stamp:
            crc = zlib.crc32(content).to_bytes(_CRC_BYTES, "little")
            self._cache.open(self._key(block), lambda file: file.write(content + crc)).close()

    def _forget(self, block: _Block) -> None:
        if self._cache is not None:
            self._cache.remove(self._key(block))


def parts_cache() -> LocalCache:
    """Where all commands of this user keep what they read of manifests that are elsewhere.

    Raises:
        UserError: what the environment says of its size is no number.
    """
    return _cache(os.environ.get(CACHE_GB_VARIABLE, str(CACHE_GB)), str(cache_folder("parts")))


@lru_cache(maxsize=1)
def _cache(limit_gb: str, folder: str) -> LocalCache:
    try:
        limit = float(limit_gb)
        if not 0 < limit < float("inf"):
            raise ValueError
    except ValueError:
        raise UserError(
            f"{CACHE_GB_VARIABLE}={limit_gb!r}: how many GiB of copies to keep, above 0"
        ) from None
    return LocalCache(Path(folder), round(limit * 2**30))
