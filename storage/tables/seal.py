"""A checksum of a part's end, which tells what is where in it and what its columns are.

Parquet's own checksums are those of pages. One bit of what stands behind them, the footer, can make
other rows of the same pages. So parts have eight bytes more between the last page and the footer,
where other readers look at nothing.
"""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

_MARK = b"smx1"
_LENGTH_BYTES = 4
_AFTER_FOOTER = _LENGTH_BYTES + len(b"PAR1")
_SEAL_BYTES = len(_MARK) + 4
_LOOKED_AT_FIRST = 2**16
"""As much as Arrow reads of a file's end, so that one request to a store serves both."""


def seal(file: BinaryIO) -> None:
    """Put the checksum into a Parquet file that is written, open for reading too."""
    end = _end(file)
    file.seek(-len(end), os.SEEK_END)
    file.write(_MARK + zlib.crc32(end).to_bytes(4, "little") + end)


def is_broken(file: BinaryIO) -> bool:
    """Whether a file's end is not what was sealed; one that was never sealed is not broken."""
    end = _end(file, _SEAL_BYTES)
    sealed, end = end[:_SEAL_BYTES], end[_SEAL_BYTES:]
    if not sealed.startswith(_MARK):
        return False
    return int.from_bytes(sealed[len(_MARK) :], "little") != zlib.crc32(end)


def _end(file: BinaryIO, before: int = 0) -> bytes:
    """The footer and what follows it, and some bytes before it; as much of that as there is."""
    size = file.seek(0, os.SEEK_END)
    content = _last(file, size, _LOOKED_AT_FIRST)
    length = int.from_bytes(content[-_AFTER_FOOTER:-_LENGTH_BYTES], "little")
    wanted = before + length + _AFTER_FOOTER
    if wanted > len(content):
        content = _last(file, size, wanted)
    return content[-wanted:]


def _last(file: BinaryIO, size: int, num_bytes: int) -> bytes:
    file.seek(max(0, size - num_bytes))
    return file.read()
