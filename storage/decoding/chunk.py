"""What decoders hand out: pieces of audio as a file has them, or why there are none."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_SAMPLES = 65_536


class Unusable(ValueError):  # noqa: N818 - no error of ours: a property of somebody's file
    """A file that can't be used.

    Attributes:
        reason: ``missing``, ``unreadable`` (rights, a folder), ``empty`` (no bytes),
            ``no_audio_stream``, ``corrupt``, ``truncated`` (too little left to use), ``too_short``,
            ``silent``, ``non_finite``, ``bitstream`` (compressed audio declared as samples),
            ``decoder_crashed``, ``too_slow``, ``too_large``, or what a
            caller adds; short, to count by.
        detail: what exactly was wrong, in one line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Chunk(NamedTuple):
    """Decoded audio ``(C, n)`` as the file has it, with FFmpeg's name of each channel's speaker.

    ``is_lossless``: these are the very samples that somebody put there.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    speakers: tuple[str, ...]
    is_lossless: bool = False


Chunks = Generator[Chunk, None, bool]
"""Yields chunks; returns whether the file broke off."""


def one_line(error: BaseException) -> str:
    """What a library or the operating system had to say, without paths and line breaks."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
