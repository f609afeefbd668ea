"""Ranged reads of canonical audio: a crop costs the bytes of a crop, on a disk or on S3."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from storage.cached_bytes import cached_bytes
from storage.damage import ADVICE
from storage.errors import UserError
from storage.local_cache import LocalCache
from storage.pcm import PCM_SCALE, UNCHANGED, deinterleave
from storage.workspace import workspace_at

HEADER_BYTES = 4096
"""Read at first; a canonical file's header is far shorter."""

BLOCK_SAMPLES = 2**20
PCM_FORMATS = (1, 0xFFFE)
UNKNOWN_SIZE = 0xFFFFFFFF
OTHER_SAMPLES = "holds other samples than were ingested"


class CanonicalAudioError(UserError):
    """A file that is no canonical audio: not 16-bit PCM WAV, or shorter than its header says."""


class MissingAudioError(CanonicalAudioError):
    """Canonical audio that is gone."""


def missing(path: str) -> MissingAudioError:
    """The error that names canonical audio that is gone, and the way out."""
    return MissingAudioError(f"{path} is missing; {ADVICE}")


@dataclass(frozen=True)
class WavLayout:
    """Where the samples of a 16-bit PCM WAV file lie."""

    data_start: int
    num_samples: int
    num_channels: int
    sample_rate: int

    @property
    def bytes_a_sample(self) -> int:
        """Bytes of one sample instant, all channels."""
        return 2 * self.num_channels


@dataclass(frozen=True)
class CropReader:
    """Reads crops of a workspace's canonical audio; small to send to other processes.

    Attributes:
        location: the workspace.
        cache: where to keep what was read from a workspace that is not on this machine's disks;
            without one, every crop is a request.
    """

    location: str
    cache: LocalCache | None = None

    def __call__(self, path: str, start_sample: int, num_samples: int) -> NDArray[np.float32]:
        """Samples ``[start_sample, start_sample + num_samples)``: ``(C, num_samples)`` float32.

        Beyond either end of the file there are zeros.

        Args:
            path: canonical audio, relative to the workspace.
            start_sample: first sample; may be negative.
            num_samples: how many.

        Raises:
            CanonicalAudioError: the file is no canonical audio.
            MissingAudioError: there is no such file.
        """
        layout = _layout(self.location, path, self.cache)
        audio = np.empty((layout.num_channels, num_samples), dtype=np.float32)
        self.into(path, start_sample, audio)
        return audio

    def into(
        self,
        path: str,
        start_sample: int,
        out: NDArray[np.float32],
        factor: np.float32 = UNCHANGED,
    ) -> None:
        """As a call, but into an array ``(C, num_samples)`` that is there, and times a factor.

        Raises:
            CanonicalAudioError: the file is no canonical audio, or has other channels.
            MissingAudioError: there is no such file.
        """
        layout = _layout(self.location, path, self.cache)
        num_samples = out.shape[1]
        if len(out) != layout.num_channels:
            raise CanonicalAudioError(
                f"{path}: has {layout.num_channels} channels, and {len(out)} are wanted; ingest "
                "its source again"
            )
        first = min(max(start_sample, 0), layout.num_samples)
        last = min(max(start_sample + num_samples, first), layout.num_samples)
        out[:, : first - start_sample] = 0
        out[:, last - start_sample :] = 0
        if last > first:
            start = layout.data_start + first * layout.bytes_a_sample
            stop = layout.data_start + last * layout.bytes_a_sample
            content = _bytes(self.location, path, start, stop, self.cache)
            if len(content) != stop - start:
                raise CanonicalAudioError(
                    f"{path}: ends before sample {last}, the header says {layout.num_samples}; "
                    "remove the file and ingest its source again"
                )
            pcm = np.frombuffer(content, "<i2").reshape(-1, layout.num_channels)
            deinterleave(pcm, out[:, first - start_sample : last - start_sample], factor)

    def blocks(
        self, path: str, block_samples: int = BLOCK_SAMPLES
    ) -> Iterator[NDArray[np.float32]]:
        """The whole file as consecutive blocks ``(C, n)``, ``n`` at most ``block_samples``."""
        layout = _layout(self.location, path, self.cache)
        for start in range(0, layout.num_samples, block_samples):
            yield self(path, start, min(block_samples, layout.num_samples - start))


class AsWritten:
    """Whether the samples that somebody reads are those that were ingested.

    Args:
        content_hash: of the samples, as in ``tracks`` and ``stems``; empty where it is not known.
        path: of the file, for the message.
    """

    def __init__(self, content_hash: str, path: str) -> None:
        self._wanted, self._path = content_hash, path
        self._digest = hashlib.sha256()

    def through(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The blocks of the whole file, noted as they pass."""
        for block in blocks:
            if self._wanted:
                pcm = (block.T * np.float32(PCM_SCALE)).astype("<i2", order="C")
                self._digest.update(pcm.data.cast("B"))
            yield block

    def require(self) -> None:
        """Refuse what has passed if it is something else.

        Raises:
            CanonicalAudioError: it is.
        """
        if self._wanted and self._digest.hexdigest() != self._wanted:
            raise CanonicalAudioError(f"{self._path}: {OTHER_SAMPLES}")


@lru_cache(maxsize=65536)
def _layout(location: str, path: str, cache: LocalCache | None) -> WavLayout:
    """A file's layout; kept, since canonical files never change."""
    return parse_wav_header(_bytes(location, path, 0, HEADER_BYTES, cache), path)


def _bytes(location: str, path: str, start: int, stop: int, cache: LocalCache | None) -> bytes:
    """Bytes ``[start, stop)`` of a file, or fewer at its end."""
    try:
        return _present_bytes(location, path, start, stop, cache)
    except FileNotFoundError as error:
        raise missing(path) from error


def _present_bytes(
    location: str, path: str, start: int, stop: int, cache: LocalCache | None
) -> bytes:
    workspace = workspace_at(location)
    target = workspace.resolve(path)
    if not workspace.is_local:

        def fetch(first: int, last: int) -> bytes:
            return bytes(workspace.fs.cat_file(target, start=first, end=last))

        if cache is None:
            return fetch(start, stop)
        return cached_bytes(cache, f"{location}/{path}", fetch, start, stop)
    file = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.pread(file, stop - start, start)
        # one call gives 2 GiB at most
        while len(content) < stop - start and (
            more := os.pread(file, stop - start - len(content), start + len(content))
        ):
            content += more
        return content
    finally:
        os.close(file)


def parse_wav_header(header: bytes, path: str) -> WavLayout:
    """Find the samples of a 16-bit PCM WAV (RIFF or RF64) by its first bytes.

    Raises:
        CanonicalAudioError: it is something else.
    """
    if header[:4] not in (b"RIFF", b"RF64") or header[8:12] != b"WAVE":
        raise CanonicalAudioError(f"{path}: not a WAV file; ingest its source again")
    position, data_size_64, layout = 12, None, None
    while position + 8 <= len(header):
        name, size = struct.unpack_from("<4sI", header, position)
        body = position + 8
        if name == b"ds64" and body + 16 <= len(header):
            data_size_64 = struct.unpack_from("<Q", header, body + 8)[0]
        elif name == b"fmt " and body + 16 <= len(header):
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", header, body)
            if kind not in PCM_FORMATS or bits != 16 or channels < 1:
                raise CanonicalAudioError(f"{path}: not 16-bit PCM; ingest its source again")
            layout = (channels, rate)
        elif name == b"data" and layout is not None:
            if size == UNKNOWN_SIZE and data_size_64 is not None:
                size = data_size_64
            channels, rate = layout
            return WavLayout(body, size // (2 * channels), channels, rate)
        position = body + size + size % 2
    raise CanonicalAudioError(f"{path}: a WAV file without samples; ingest its source again")
