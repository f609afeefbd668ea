"""Prints: acoustic fingerprints by Chromaprint, which are alike where audio sounds alike.

A print is a row of 32-bit numbers, one every :data:`ITEM_S` seconds, each made of two and a half
seconds of chroma (https://oxygene.sk/2011/01/how-does-chromaprint-work). The library is the
system's, through the package ``pyacoustid``; where it is missing there are no prints, and whoever
wants one is told how to get it.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

ITEM_S = 1365 / 11_025
"""Seconds from one number of a print to the next: the hop at Chromaprint's own sample rate."""

ALGORITHM = 1
"""Chromaprint's default, and AcoustID's; prints of others are of another kind."""

HOW_TO_GET = (
    "the library Chromaprint (libchromaprint.so.1) is not installed: `apt install "
    "libchromaprint1`, or `brew install chromaprint`"
)

Print = NDArray[np.uint32]
NO_ITEMS: Print = np.zeros(0, np.uint32)


@lru_cache(maxsize=1)
def _library() -> ModuleType | None:
    try:
        return importlib.import_module("chromaprint")
    except ImportError:  # it is raised where the package is there and the library is not, too
        return None


def can_print() -> bool:
    """Whether there is a library to make prints with."""
    return _library() is not None


class Printer:
    """Makes the print of some audio, block by block.

    Args:
        sample_rate: of the audio.
        num_channels: of the audio; it is mixed to mono.
    """

    def __init__(self, sample_rate: int, num_channels: int) -> None:
        library = _library()
        assert library is not None, HOW_TO_GET
        self._chromaprint = library
        self._printer = library.Fingerprinter(ALGORITHM)
        self._printer.start(sample_rate, num_channels)

    def feed(self, pcm: memoryview) -> None:
        """Hear a block of interleaved 16-bit samples."""
        self._printer.feed(bytes(pcm))

    def finish(self) -> Print:
        """The print of all that was heard; empty where that is shorter than three seconds."""
        items, _ = self._chromaprint.decode_fingerprint(self._printer.finish())
        return np.array(items, dtype=np.uint32)
