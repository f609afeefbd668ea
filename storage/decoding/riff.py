"""WAV files whose header is wrong about where the samples are, as programs leave them.

A size that wrapped at 4 GiB, one that a recorder wrote once and never again, an RF64 that went
through a pipe, a chunk of odd length without its pad byte, one file after the other: libraries read
to where the header says, or not at all. What is looked for here is where the samples are.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

STREAMED_BYTES = 0x7FFF_F000
"""Sizes from here on are no sizes: a program that wrote to a pipe did not know any."""

_FORMS = (b"RIFF", b"RF64", b"BW64")
_UNKNOWN = 0xFFFF_FFFF
_MOST_FORMAT_BYTES = 4096
_SMALL_REST = 4096
_LOOKED_AT = 65_536
_CHUNKS = frozenset(
    b"LIST|bext|iXML|_PMX|cue |smpl|inst|JUNK|junk|FLLR|PAD |fact|PEAK|afsp|DISP|acid|strc|cart|"
    b"aXML|axml|chna|umid|link|LGWV|minf|elm1|regn|r64m|plst|note|labl|ltxt|data|levl|qlty|fmt |"
    b"id3 |ID3 |ResU|Fake|SAUR|MD5 |AFAn|CDif|DGDA|clm |cset|SyLp|Cr8r|SNDM|sltt|DPOP|ovwf|"
    b"slnt|wavl".split(b"|")
)
_TAGS = (b"ID3", b"APETAGEX", b"TAG", b"LYRICS")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Where a file has samples, and of which kind.

    Attributes:
        fmt: the chunk that tells the kind.
        start: first byte.
        stop: one past the last byte.
        is_cut: the header declares more than there is.
    """

    fmt: bytes
    start: int
    stop: int
    is_cut: bool = False


def misplaced_samples(file: BinaryIO) -> list[Samples]:
    """Where the samples of a WAV are, if its header is wrong about it; or else nothing.

    Raises:
        OSError: the file can't be read.
    """
    num_bytes = file.seek(0, os.SEEK_END)
    found = list(_files(file, num_bytes))
    return [samples for samples, _ in found] if any(wrong for _, wrong in found) else []


def _files(file: BinaryIO, num_bytes: int) -> Iterator[tuple[Samples, bool]]:
    """The samples of each WAV that a file is made of, and whether a library would miss any."""
    begin, is_first = 0, True
    while (found := _header(file, begin, num_bytes)) is not None:
        samples, is_odd, end = found
        begin = end
        another = _read(file, begin, 4) in _FORMS
        yield samples, is_odd or not is_first or another
        is_first = False


def _header(file: BinaryIO, begin: int, num_bytes: int) -> tuple[Samples, bool, int] | None:
    """Samples of the WAV that begins somewhere, whether its header is wrong, and where it ends."""
    head = _read(file, begin, 12)
    if head[:4] not in _FORMS or head[8:] != b"WAVE":
        return None
    fmt, real_bytes, is_odd, place = b"", None, False, begin + 12
    while True:
        name, size = _chunk(file, place)
        if name == b"data" or not name:
            break
        if name == b"ds64":
            real_bytes = int.from_bytes(_read(file, place + 16, 8), "little")
        if name == b"fmt ":
            fmt = _read(file, place, 8 + min(size, _MOST_FORMAT_BYTES))
        place += 8 + size
        if size % 2:
            without_pad, with_pad = _read(file, place, 4), _read(file, place + 1, 4)
            if with_pad not in _CHUNKS and without_pad in _CHUNKS:
                is_odd = True
            else:
                place += 1
    if not name or not fmt:
        return None
    start = place + 8
    is_big = head[:4] != b"RIFF" and size == _UNKNOWN
    declared = real_bytes if is_big and real_bytes is not None else size
    stop = start + declared
    if not declared or (declared >= STREAMED_BYTES and stop > num_bytes):
        stop, is_odd = num_bytes, is_odd or head[:4] != b"RIFF"
    elif stop < num_bytes and _goes_on(file, stop, declared % 2, num_bytes):
        stop, is_odd = num_bytes, True
    samples = Samples(fmt=fmt, start=start, stop=min(stop, num_bytes), is_cut=stop > num_bytes)
    return samples, is_odd, _after(file, stop, num_bytes)


def _after(file: BinaryIO, stop: int, num_bytes: int) -> int:
    """Where a file ends whose samples do: behind its other chunks."""
    place = stop + stop % 2
    while place < num_bytes and _read(file, place, 4) not in _FORMS:
        name, size = _chunk(file, place)
        if not _is_name(name):
            return num_bytes
        place += 8 + size + size % 2
    return place


def _goes_on(file: BinaryIO, stop: int, pad: int, num_bytes: int) -> bool:
    """Whether what follows the declared end are samples: no chunk, no tag, no padding."""
    if num_bytes - stop < _SMALL_REST:
        return False
    for place in (stop + pad, stop):
        name = _read(file, place, 8)
        if name[:4] in _CHUNKS or name[:4] in _FORMS or name.startswith(_TAGS):
            return False
    if not any(_read(file, stop, _LOOKED_AT)) and not any(
        _read(file, num_bytes - _LOOKED_AT, _LOOKED_AT)
    ):
        return False
    place = stop + pad
    while place + 8 <= num_bytes:  # chunks that nobody knows, up to the end
        name, size = _chunk(file, place)
        if not _is_name(name):
            return True
        place += 8 + size + size % 2
    return place - num_bytes > 1


def _chunk(file: BinaryIO, place: int) -> tuple[bytes, int]:
    header = _read(file, place, 8)
    if len(header) < 8:
        return b"", 0
    name, size = struct.unpack("<4sI", header)
    return name, size


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def _read(file: BinaryIO, place: int, num_bytes: int) -> bytes:
    file.seek(place)
    return file.read(num_bytes)


class AsWav:
    """Samples of a file as a WAV of their own, for FFmpeg to read: up to the end, whatever it is.

    Args:
        file: that has them.
        samples: where.
    """

    def __init__(self, file: BinaryIO, samples: Samples) -> None:
        self._file, self._start = file, samples.start
        self._head = b"RIFF\xff\xff\xff\xffWAVE" + samples.fmt + b"data\xff\xff\xff\xff"
        self._num_bytes = len(self._head) + samples.stop - samples.start
        self._place = 0
        self.name = "samples.wav"

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        left = self._num_bytes - self._place
        size = left if size < 0 else min(size, left)
        if self._place < len(self._head):
            content = self._head[self._place : self._place + size]
        else:
            content = _read(self._file, self._start + self._place - len(self._head), max(size, 0))
        self._place += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._num_bytes}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """Where it is."""
        return self._place

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True
