"""Stems that are made block by block, until it is known whether they are kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

from storage.decoding.canonical import wav_header
from storage.music_format import MusicFormat
from storage.pcm import PCM_SCALE
from storage.workspace import Workspace


class StemScratch:
    """Stems of one track on this machine's disk; memory does not grow with their length.

    Args:
        music: how they are to be stored.
        files: an empty one a stem.
    """

    def __init__(self, music: MusicFormat, files: Sequence[IO[bytes]]) -> None:
        self._music, self._files = music, files
        self._num_samples = 0

    def append(self, stems: NDArray[np.float32]) -> None:
        """Add a block ``(S, C, n)``; what is beyond full scale is cut off there."""
        pcm = np.clip(np.rint(stems * PCM_SCALE), -PCM_SCALE, PCM_SCALE - 1).astype("<i2")
        for file, stem in zip(self._files, pcm, strict=True):
            file.write(np.ascontiguousarray(stem.T).data.cast("B"))
        self._num_samples += stems.shape[-1]

    def store(self, workspace: Workspace, paths: Sequence[str]) -> None:
        """Write them as canonical audio, a path each."""
        for file, path in zip(self._files, paths, strict=True):
            workspace.put(path, partial(self._write, file))

    def _write(self, file: IO[bytes], into: BinaryIO) -> None:
        music = self._music
        into.write(wav_header(self._num_samples, music.sample_rate, music.num_channels))
        file.seek(0)
        shutil.copyfileobj(file, into)


@contextmanager
def stem_scratch(music: MusicFormat) -> Iterator[StemScratch]:
    """Room for a stem of each source, which is gone afterwards."""
    with ExitStack() as stack:
        files = [
            stack.enter_context(tempfile.TemporaryFile(prefix="silentmix-")) for _ in music.sources
        ]
        yield StemScratch(music, files)
