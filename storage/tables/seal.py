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
from collections.abc import Iterator
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
    metadata = pq.read_metadata(file)
    end = _last(file, _length_of_end(file))
    stop = file.seek(0, os.SEEK_END) - len(end)
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
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._groups: list[tuple[int, int]] = []
        self._stop = 0
        self.is_broken = False
        """Whether the end is not what was sealed; rows are not looked at."""
        length = _length_of_end(file)
        sealed = _last(file, length + _MARK_BYTES)
        mark, end = sealed[: len(_OF_ALL)], sealed[_MARK_BYTES:]
        if mark not in (_OF_END, _OF_ALL):
            return
        told = b""
        if mark == _OF_ALL:
            count = _last(file, len(sealed) + _COUNT_BYTES)[:_COUNT_BYTES]
            num_bytes = _GROUP.size * int.from_bytes(count, "little") + _COUNT_BYTES
            self._stop = file.seek(0, os.SEEK_END) - len(sealed) - num_bytes
            self.is_broken = self._stop < 0
            told = b"" if self.is_broken else _last(file, len(sealed) + num_bytes)[:num_bytes]
            self._groups = list(_GROUP.iter_unpack(told[:-_COUNT_BYTES]))
        expected = int.from_bytes(sealed[len(_OF_ALL) : _MARK_BYTES], "little")
        self.is_broken = self.is_broken or expected != zlib.crc32(told + end)

    def is_group_broken(self, index: int) -> bool:
        """Whether the pages of a row group are not what was sealed."""
        if index >= len(self._groups):
            return False
        start, expected = self._groups[index]
        later = self._groups[index + 1 : index + 2]
        return _checksum(self._file, start, later[0][0] if later else self._stop) != expected

    def broken_groups(self) -> Iterator[int]:
        """The row groups whose pages are not what was sealed."""
        return (index for index in range(len(self._groups)) if self.is_group_broken(index))


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


def _length_of_end(file: BinaryIO) -> int:
    """Of the footer and what follows it, as the file tells it."""
    return int.from_bytes(_last(file, _AFTER_FOOTER)[:_LENGTH_BYTES], "little") + _AFTER_FOOTER


def _last(file: BinaryIO, num_bytes: int) -> bytes:
    """The last bytes of a file; as many as there are."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - max(num_bytes, _LOOKED_AT_FIRST)))
    return file.read()[-num_bytes:]
