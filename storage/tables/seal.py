"""Checksums of a part's end and of its row groups, of all that Parquet's own leave out.

Those are of pages. One bit of the header of a page, or of the footer, which tells what is where,
can make other rows of the same pages. So parts have a seal between the last page and the footer,
where other readers look at nothing: of each row group where it begins and its checksum, how many
there are, and the checksum of these and of the end. Parts of before have that of the end alone.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO

import pyarrow.parquet as pq

_OF_END, _OF_ALL = b"smx1", b"smx2"
_GROUP = struct.Struct("<QI")
_COUNT_BYTES = 4
_LENGTH_BYTES = 4
_AFTER_FOOTER = _LENGTH_BYTES + len(b"PAR1")
_MARK_BYTES = len(_OF_ALL) + 4
_LOOKED_AT_FIRST = 2**16
"""As much as Arrow reads of a file's end, so that one request to a store serves both."""
_BLOCK_BYTES = 2**20


def seal(file: BinaryIO) -> None:
    """Put the checksums into a Parquet file that is written, open for reading too."""
    metadata, tail = pq.read_metadata(file), _Tail(file)
    end = tail.last(tail.length_of_end())
    stop = tail.size - len(end)
    starts = [_start(metadata.row_group(index)) for index in range(metadata.num_row_groups)]
    sums = [_checksum(file, *bounds) for bounds in zip(starts, [*starts[1:], stop], strict=True)]
    groups = b"".join(_GROUP.pack(*each) for each in zip(starts, sums, strict=True))
    told = groups + len(starts).to_bytes(_COUNT_BYTES, "little")
    file.seek(stop)
    file.write(told + _OF_ALL + zlib.crc32(told + end).to_bytes(4, "little") + end)


class Seal:
    """What a part tells of itself; a file without a seal is never broken.

    Args:
        file: the part.

    Attributes:
        is_broken: whether the end is not what was sealed; rows are not looked at.
        groups: the places of the row groups that can be looked at.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, tail = file, _Tail(file)
        sealed = tail.last(tail.length_of_end() + _MARK_BYTES)
        mark, end = sealed[: len(_OF_ALL)], sealed[_MARK_BYTES:]
        told = _told_before(tail, len(sealed)) if mark == _OF_ALL else b""
        expected = int.from_bytes(sealed[len(_OF_ALL) : _MARK_BYTES], "little")
        self.is_broken = mark in (_OF_END, _OF_ALL) and expected != zlib.crc32(told + end)
        groups = list(_GROUP.iter_unpack(told[:-_COUNT_BYTES]))
        starts = [start for start, _ in groups]
        stops = [*starts[1:], tail.size - len(sealed) - len(told)]
        self._groups: list[tuple[int, int, int]] = [
            (start, stop, crc) for (start, crc), stop in zip(groups, stops, strict=False)
        ]
        self.groups = range(len(groups))

    def is_group_broken(self, index: int) -> bool:
        """Whether the pages of a row group are not what was sealed."""
        if index not in self.groups:
            return False
        start, stop, expected = self._groups[index]
        return _checksum(self._file, start, stop) != expected


class _Tail:
    """The last bytes of a file, of which as many are read as are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._content = file, b""
        self.size = file.seek(0, os.SEEK_END)

    def last(self, num_bytes: int) -> bytes:
        """As many of them; all, where there are fewer."""
        if num_bytes > len(self._content):
            self._file.seek(max(0, self.size - max(num_bytes, _LOOKED_AT_FIRST)))
            self._content = self._file.read()
        return self._content[-num_bytes:]

    def length_of_end(self) -> int:
        """Of the footer and what follows it, as the file tells it."""
        return int.from_bytes(self.last(_AFTER_FOOTER)[:_LENGTH_BYTES], "little") + _AFTER_FOOTER


def _told_before(tail: _Tail, sealed: int) -> bytes:
    """What is told of row groups before the mark; nothing where there is no room for it."""
    count = int.from_bytes(tail.last(sealed + _COUNT_BYTES)[:_COUNT_BYTES], "little")
    num_bytes = _GROUP.size * count + _COUNT_BYTES
    return tail.last(sealed + num_bytes)[:num_bytes] if sealed + num_bytes <= tail.size else b""


def _start(group: pq.RowGroupMetaData) -> int:
    """Where the pages of a row group begin."""
    columns = map(group.column, range(group.num_columns))
    return min(column.dictionary_page_offset or column.data_page_offset for column in columns)


def _checksum(file: BinaryIO, start: int, stop: int) -> int:
    """That of what is from one place to another; memory holds a little."""
    file.seek(start)
    found, left = 0, stop - start
    while left > 0 and (block := file.read(min(left, _BLOCK_BYTES))):
        found, left = zlib.crc32(block, found), left - len(block)
    return found
