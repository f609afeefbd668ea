"""A file's audio at its own rate, beside the same audio at the rate that a model wants.

Stems can then have the rate, the length, the level and the number of channels of the file they
came from. Everything lies in scratch files, so that memory does not grow with the length.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soxr
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from storage.decoding.canonical import PreparedAudio, prepare
from storage.decoding.chunk import BLOCK_SAMPLES
from storage.decoding.decode import open_local
from storage.decoding.decoder_process import decoder
from storage.decoding.downmix import STEREO
from storage.printable import valid_text


class Resampler:
    """Resamples consecutive blocks ``(C, n)``, any C, to a length known before.

    Args:
        num_channels: C.
        from_rate: samples a second of the blocks.
        to_rate: samples a second wanted.
        num_samples: length wanted; what resampling gives more is cut off, what it gives less is
            zeros.
    """

    def __init__(self, num_channels: int, from_rate: int, to_rate: int, num_samples: int) -> None:
        self._stream = (
            soxr.ResampleStream(from_rate, to_rate, num_channels, "float32", "HQ")
            if from_rate != to_rate
            else None
        )
        self._num_left = num_samples

    def __call__(self, block: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """The next samples ``(C, m)``, m perhaps 0; after ``last``, all samples were given."""
        if self._stream is not None:
            block = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last).T
        block = block[:, : self._num_left]
        self._num_left -= block.shape[1]
        if last and self._num_left:
            block = np.pad(block, ((0, 0), (0, self._num_left)))
            self._num_left = 0
        return block


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """Audio in a scratch file.

    Attributes:
        num_samples: its length.
        read: ``read(start_sample, num_samples)`` gives ``(C, num_samples)`` of what is there.
    """

    num_samples: int
    read: Callable[[int, int], NDArray[np.float32]]


@contextmanager
def prepare_original(
    fs: AbstractFileSystem, path: str, choose_rate: Callable[[int], int]
) -> Generator[tuple[PreparedAudio, int]]:
    """Decode a file at its own rate to stereo, and tell how many channels it has: 1, or else 2.

    Args:
        fs: filesystem the file is on.
        path: its path there.
        choose_rate: the rate to take, from the file's own.

    Raises:
        Unusable: the file can't be decoded, and why.
    """
    with open_local(fs, path) as file:
        first = decoder().ask(file, None, {"name": valid_text(path)})
        with prepare(
            LocalFileSystem(),
            str(file.name),
            sample_rate=choose_rate(first["sample_rate"]),
            num_channels=STEREO,
            min_duration_s=0.0,
            allow_silence=True,
        ) as audio:
            yield audio, min(first["num_channels"], STEREO)


@contextmanager
def resampled(audio: PreparedAudio, sample_rate: int) -> Generator[Resampled]:
    """The audio at another rate, at the gain that keeps its peaks within full scale."""
    if sample_rate == audio.sample_rate:
        yield Resampled(num_samples=audio.num_samples, read=audio.read)
        return
    num_samples = max(1, round(audio.num_samples * sample_rate / audio.sample_rate))
    num_channels = audio.num_channels
    resample = Resampler(num_channels, audio.sample_rate, sample_rate, num_samples)
    with tempfile.TemporaryFile(prefix="silentmix-") as scratch:
        for block in audio.blocks(block_samples=BLOCK_SAMPLES):
            _append(scratch, resample(block))
        _append(scratch, resample(np.zeros((num_channels, 0), dtype=np.float32), last=True))
        scratch.flush()

        def read(start_sample: int, num_samples: int) -> NDArray[np.float32]:
            bytes_a_sample = 4 * num_channels
            content = os.pread(
                scratch.fileno(), num_samples * bytes_a_sample, start_sample * bytes_a_sample
            )
            return np.frombuffer(content, dtype=np.float32).reshape(-1, num_channels).T

        yield Resampled(num_samples=num_samples, read=read)


def _append(scratch: BinaryIO, block: NDArray[np.float32]) -> None:
    scratch.write(np.ascontiguousarray(block.T).data.cast("B") if block.size else b"")
