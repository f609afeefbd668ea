"""Makes Ogg files reproducible: libsndfile draws a random stream number for each."""

from __future__ import annotations

import struct

_POLYNOMIAL = 0x04C11DB7
_HEADER_BYTES, _SERIAL_AT, _CHECKSUM_AT = 27, 14, 22


def with_serial(content: bytes, serial: int) -> bytes:
    """The same Ogg file with another stream number, its pages' checksums put right (RFC 3533).

    Raises:
        ValueError: the content is not a sequence of Ogg pages.
    """
    pages = bytearray(content)
    table = _checksum_table()
    start = 0
    while start < len(pages):
        if pages[start : start + 4] != b"OggS":
            raise ValueError(f"no Ogg page at byte {start}")
        num_segments = pages[start + _HEADER_BYTES - 1]
        body = start + _HEADER_BYTES + num_segments
        stop = body + sum(pages[start + _HEADER_BYTES : body])
        struct.pack_into("<I", pages, start + _SERIAL_AT, serial)
        struct.pack_into("<I", pages, start + _CHECKSUM_AT, 0)
        checksum = 0
        for byte in pages[start:stop]:
            checksum = ((checksum << 8) & 0xFFFFFFFF) ^ table[(checksum >> 24) ^ byte]
        struct.pack_into("<I", pages, start + _CHECKSUM_AT, checksum)
        start = stop
    return bytes(pages)


def _checksum_table() -> list[int]:
    table = []
    for byte in range(256):
        checksum = byte << 24
        for _ in range(8):
            checksum = (checksum << 1) ^ (_POLYNOMIAL if checksum & 0x80000000 else 0)
        table.append(checksum & 0xFFFFFFFF)
    return table
