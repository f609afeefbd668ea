"""Decode anything a music folder holds to float blocks, stereo or mono, in bounded memory."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

import numpy as np
import soxr
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from storage.decoding.chunk import Chunks, Unusable, one_line
from storage.decoding.codecs import chunks
from storage.decoding.downmix import downmix, downmix_matrix
from storage.scratch import PREFIX

SAMPLE_RATES = (2_000, 768_000)
"""Outside of these, a header is broken."""

_NO_FILE = {
    errno.ENXIO: "is a socket or a device, no file",
    errno.ELOOP: "is a link that leads to itself",
}
"""What the system says of a name that is no file's, whenever it is asked."""


class AudioDecoder:
    """Iterates once over a file's audio as blocks ``(C, n)`` float32, of any length above 0.

    Lengths are those decoded, never those a header declares. Damaged packets are skipped, as
    players do; a file that breaks off gives what it has.

    Args:
        file: a file of the operating system, as :func:`open_local` gives it.
        sample_rate: of the blocks. Other rates are resampled (soxr, HQ) to ``n * sample_rate /
            rate`` samples, rounded half up.
        num_channels: C: 1 or 2. Others are mixed down, or mono put on both sides.
        stream: which of the file's audio streams, counted from 0; by default the best.

    Attributes:
        truncated: known after the last block: the file broke off, the blocks are its beginning.

    Raises:
        Unusable: while iterating, even after some blocks.
    """

    def __init__(
        self, file: BinaryIO, *, sample_rate: int, num_channels: int, stream: int | None = None
    ) -> None:
        self.truncated = False
        self._sample_rate, self._num_channels = sample_rate, num_channels
        self._chunks = self._noting_the_end(chunks(file, stream))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        # rate and channels may change inside a file: chained Ogg, MPEG streams
        for (rate, speakers), run in itertools.groupby(self._chunks, lambda chunk: chunk[1:3]):
            lowest, highest = SAMPLE_RATES
            if not lowest <= rate <= highest:
                raise Unusable("corrupt", f"declares {rate} samples a second")
            matrix = downmix_matrix(speakers, self._num_channels)
            mixed = (downmix(chunk.audio, matrix) for chunk in run)
            yield from _resampled(_finite(mixed), rate, self._sample_rate, self._num_channels)

    def _noting_the_end(self, decoded: Chunks) -> Chunks:
        self.truncated = yield from decoded
        return self.truncated


def _finite(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        if not (np.isfinite(block.min()) and np.isfinite(block.max())):  # either may be NaN
            raise Unusable("non_finite", "holds NaN or infinite samples")
        yield block


def _resampled(
    blocks: Iterator[NDArray[np.float32]], rate: int, sample_rate: int, num_channels: int
) -> Iterator[NDArray[np.float32]]:
    if rate == sample_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate, sample_rate, num_channels, "float32", "HQ")
    num_in = num_out = 0
    for block in blocks:
        num_in += block.shape[1]
        resampled = resampler.resample_chunk(np.ascontiguousarray(block.T))
        num_out += len(resampled)
        if len(resampled):
            yield resampled.T
    tail = resampler.resample_chunk(np.zeros((0, num_channels), dtype=np.float32), last=True)
    num_left = max(0, (2 * num_in * sample_rate + rate) // (2 * rate) - num_out)
    fitted = np.zeros((num_left, num_channels), dtype=np.float32)
    kept = min(num_left, len(tail))
    fitted[:kept] = tail[:kept]
    if num_left:
        yield fitted.T


@contextmanager
def open_local(fs: AbstractFileSystem, path: str) -> Generator[BinaryIO]:
    """Open a file on this machine's disk; one from elsewhere is fetched to it first, whole.

    Raises:
        Unusable: the file is not there, or not to be read. What may pass (a network that is down)
            is raised as it comes, since it says nothing about the file.
    """
    with ExitStack() as stack:
        try:
            if not isinstance(fs, LocalFileSystem):
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX))
                fs.get_file(path, f"{scratch}/copy")
                path = f"{scratch}/copy"
            file = stack.enter_context(open(path, "rb", buffering=0, opener=_opened))
        except FileNotFoundError as error:
            raise Unusable("missing", "there is no such file") from error
        except (PermissionError, IsADirectoryError) as error:
            raise Unusable("unreadable", one_line(error)) from error
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            raise Unusable("unreadable", _NO_FILE[error.errno]) from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Unusable("unreadable", "is a named pipe or a device, no file")
        yield file


def _opened(path: str, flags: int) -> int:
    """Open without waiting for who would write to a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
