"""Canonical audio: 16-bit WAV of one sample rate, stereo or mono, from any file, in bounded memory.

A file is decoded once to a scratch file of float32, while its peak, level and length are measured,
in a process that can die of it (:mod:`storage.decoding.decoder_process`).
Then the caller, who knows now what it is, may have it written: samples ``x`` become the integers
``round(x * gain * 32768)``, halves to even, limited to what 16 bits hold, without dither. So 16-bit
sources at the same rate come through bit by bit, and equal music in other formats or under
other tags has the same content hash.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import struct
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from storage.decoding.chunk import Unusable
from storage.decoding.decode import AudioDecoder, open_local
from storage.decoding.decoder_process import decoder
from storage.decoding.spikes import HOT_PEAK, find_spike
from storage.pcm import PCM_SCALE
from storage.printable import valid_text

__all__ = ["PreparedAudio", "decode_into", "prepare", "summed", "wav_header"]

BLOCK_SAMPLES = 2**18
FLOOR_DB = -120.0
"""Level of what has none."""
MIN_DURATION_S = 3.0
SILENCE_DB = -70.0
_BYTES_A_VALUE = 2
_SCRATCH_BYTES_A_VALUE = 4
_MAX_RIFF_BYTES = 0xFFFF_FFFF


class PreparedAudio:
    """Decoded audio in a scratch file, measured. Made by :func:`prepare` and :func:`summed`.

    Attributes:
        sample_rate: samples a second.
        num_channels: 1 or 2.
        num_samples: length, as decoded.
        peak: largest absolute sample value, as decoded.
        gain_db: gain that brings a peak above full scale back to it; 0 for others.
        level_db: RMS level re full scale at that gain, at least :data:`FLOOR_DB`.
        truncated: whether the file broke off.
        tags: what the file says of its music, where that was asked for.
    """

    def __init__(self, scratch: BinaryIO, sample_rate: int, num_channels: int) -> None:
        self._scratch, self.sample_rate, self.num_channels = scratch, sample_rate, num_channels
        self.num_samples, self.peak, self._energy = 0, 0.0, 0.0
        self.truncated = False
        self._hashes: dict[float, str] = {}
        self.tags: Mapping[str, str | int] = {}

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def gain_db(self) -> float:
        """Gain that brings a peak above full scale back to it; 0 for others."""
        return -20 * math.log10(self.peak) if self.peak > 1 else 0.0

    @property
    def level_db(self) -> float:
        """RMS level re full scale at :attr:`gain_db`, at least :data:`FLOOR_DB`."""
        if not self._energy:
            return FLOOR_DB
        power = self._energy / (self.num_channels * self.num_samples)
        return max(FLOOR_DB, 10 * math.log10(power) + self.gain_db)

    def read(
        self, start_sample: int, num_samples: int, gain_db: float | None = None
    ) -> NDArray[np.float32]:
        """Samples ``[start_sample, start_sample + num_samples)``: ``(C, num_samples)`` float32.

        Beyond either end there are zeros. ``gain_db`` is :attr:`gain_db` unless told.
        """
        first = min(max(start_sample, 0), self.num_samples)
        last = min(max(start_sample + num_samples, first), self.num_samples)
        audio = np.zeros((num_samples, self.num_channels), dtype=np.float32)
        if last > first:
            into = audio[first - start_sample : last - start_sample]
            np.multiply(self._interleaved(first, last - first), self._factor(gain_db), out=into)
        return audio.T

    def blocks(
        self, gain_db: float | None = None, block_samples: int = BLOCK_SAMPLES
    ) -> Iterator[NDArray[np.float32]]:
        """All of it as consecutive blocks ``(C, n)``, ``n`` at most ``block_samples``."""
        for start in range(0, self.num_samples, block_samples):
            yield self.read(start, min(block_samples, self.num_samples - start), gain_db)

    def content_hash(
        self, gain_db: float | None = None, also: Sequence[Callable[[memoryview], object]] = ()
    ) -> str:
        """SHA-256, in hexadecimal digits, of the samples that :meth:`write_wav` would write.

        Args:
            gain_db: :attr:`gain_db` unless told.
            also: who else takes those samples, block by block, interleaved and of 16 bits.
        """
        gain = self.gain_db if gain_db is None else gain_db
        if gain not in self._hashes or also:
            digest = hashlib.sha256()
            for block in self._pcm_blocks(gain):
                digest.update(block)
                for take in also:
                    take(block)
            self._hashes[gain] = digest.hexdigest()
        return self._hashes[gain]

    def write_wav(self, file: BinaryIO, gain_db: float | None = None) -> None:
        """Write it as canonical audio; equal audio gives equal bytes."""
        file.write(wav_header(self.num_samples, self.sample_rate, self.num_channels))
        for block in self._pcm_blocks(gain_db):
            file.write(block)

    def measured(self) -> dict[str, float]:
        """What is known of it, for :meth:`adopt` in another process."""
        return {
            "num_samples": self.num_samples,
            "peak": self.peak,
            "energy": self._energy,
            "truncated": self.truncated,
        }

    def adopt(self, measured: Mapping[str, float]) -> None:
        """Take what another process has written to the scratch file, and measured there."""
        self.num_samples, self.peak = int(measured["num_samples"]), measured["peak"]
        self._energy, self.truncated = measured["energy"], bool(measured["truncated"])

    def _append(self, audio: NDArray[np.float32]) -> None:
        """Add a block ``(C, n)`` at the end, and measure it."""
        if not audio.shape[1]:
            return
        samples = np.ascontiguousarray(audio.T).ravel()
        _write_all(self._scratch, samples.data.cast("B"))
        self.num_samples += audio.shape[1]
        self.peak = max(self.peak, float(samples.max()), -float(samples.min()))
        self._energy += float(np.square(samples, dtype=np.float64).sum())

    def _interleaved(self, start_sample: int, num_samples: int) -> NDArray[np.float32]:
        bytes_a_sample = _SCRATCH_BYTES_A_VALUE * self.num_channels
        content = os.pread(
            self._scratch.fileno(), num_samples * bytes_a_sample, start_sample * bytes_a_sample
        )
        if len(content) != num_samples * bytes_a_sample:
            raise OSError(errno.EIO, "scratch file ends too early", tempfile.gettempdir())
        return np.frombuffer(content, dtype=np.float32).reshape(-1, self.num_channels)

    def _factor(self, gain_db: float | None) -> np.float32:
        return np.float32(10 ** ((self.gain_db if gain_db is None else gain_db) / 20))

    def _pcm_blocks(self, gain_db: float | None) -> Iterator[memoryview]:
        scale = self._factor(gain_db) * np.float32(PCM_SCALE)
        for start in range(0, self.num_samples, BLOCK_SAMPLES):
            num_samples = min(BLOCK_SAMPLES, self.num_samples - start)
            scaled = self._interleaved(start, num_samples) * scale
            np.rint(scaled, out=scaled)
            np.clip(scaled, -PCM_SCALE, PCM_SCALE - 1, out=scaled)
            yield scaled.astype("<i2").data.cast("B")


@contextmanager
def prepare(
    fs: AbstractFileSystem,
    path: str,
    *,
    sample_rate: int,
    num_channels: int,
    stream: int | None = None,
    min_duration_s: float = MIN_DURATION_S,
    silence_db: float = SILENCE_DB,
    allow_silence: bool = False,
    with_tags: bool = False,
) -> Generator[PreparedAudio]:
    """Decode a file, check that it can be used, and hold it until the context ends.

    Args:
        fs: filesystem the file is on.
        path: its path there.
        sample_rate: of the canonical audio.
        num_channels: of the canonical audio: 1 or 2.
        stream: which of the file's audio streams, counted from 0; by default the best.
        min_duration_s: shorter files are refused.
        silence_db: files whose RMS level is below are refused.
        allow_silence: take silent ones nevertheless: a stem may well be silent.
        with_tags: read the file's tags too.

    Raises:
        Unusable: the file can't be used, and why.
    """
    with tempfile.TemporaryFile(prefix="silentmix-") as scratch:
        audio = PreparedAudio(scratch, sample_rate, num_channels)
        with open_local(fs, path) as file:
            request = {
                "name": valid_text(path),
                "stream": stream,
                "sample_rate": sample_rate,
                "num_channels": num_channels,
                "tags": with_tags,
            }
            told = decoder().ask(file, scratch, request)
            audio.adopt(told)
            audio.tags = told.get("tags", {})
        _check(audio, min_duration_s, None if allow_silence else silence_db)
        yield audio


def decode_into(audio: PreparedAudio, file: BinaryIO, stream: int | None = None) -> Generator[None]:
    """Decode a file of the operating system, and measure it; yields after each block.

    Args:
        audio: to append to; its rate and channels are those decoded to.
        file: opened for reading, without a buffer of Python's.
        stream: which of the file's audio streams; None for the best.

    Raises:
        Unusable: the file can't be decoded, and why.
    """
    decoded = AudioDecoder(
        file, sample_rate=audio.sample_rate, num_channels=audio.num_channels, stream=stream
    )
    for block in decoded:
        audio._append(block)
        yield
    audio._scratch.flush()
    audio.truncated = decoded.truncated


@contextmanager
def summed(
    parts: Sequence[PreparedAudio], *, less: Sequence[PreparedAudio] = ()
) -> Generator[PreparedAudio]:
    """The sum of some audio, as decoded, each without a gain; as long as the longest.

    What ``less`` holds is taken away from it, as far as it is long.
    """
    formats = {(part.sample_rate, part.num_channels) for part in (*parts, *less)}
    assert len(formats) == 1, f"sample rates or channels differ: {sorted(formats)}"
    with tempfile.TemporaryFile(prefix="silentmix-") as scratch:
        audio = PreparedAudio(scratch, *formats.pop())
        longest = max(part.num_samples for part in parts)
        for start in range(0, longest, BLOCK_SAMPLES):
            num_samples = min(BLOCK_SAMPLES, longest - start)
            total = np.zeros((audio.num_channels, num_samples), dtype=np.float32)
            for part in parts:
                total += part.read(start, num_samples, gain_db=0.0)
            for part in less:
                total -= part.read(start, num_samples, gain_db=0.0)
            audio._append(total)
        scratch.flush()
        audio.truncated = any(part.truncated for part in (*parts, *less))
        yield audio


def _write_all(file: BinaryIO, content: memoryview) -> None:
    """Write all of it: a file without a buffer takes what its disk has room for, and says so."""
    while content:
        content = content[file.write(content) :]


def _check(audio: PreparedAudio, min_duration_s: float, silence_db: float | None) -> None:
    if not math.isfinite(audio.peak) or not math.isfinite(audio._energy):
        raise Unusable("non_finite", "holds samples too large to resample")
    if audio.duration_s < min_duration_s or not audio.num_samples:
        lasts = f"{audio.duration_s:.2f} s, less than {min_duration_s:g} s"
        if audio.truncated:
            raise Unusable("truncated", f"broke off after {lasts}")
        raise Unusable("too_short", f"lasts {lasts}")
    if audio.peak > HOT_PEAK and (
        spike := find_spike(audio.blocks(gain_db=0.0), audio.peak, SILENCE_DB)
    ):
        raise Unusable(
            "spike",
            f"a spike at {spike.at_sample / audio.sample_rate:.3f} s, {spike.peak_db:.0f} dB above "
            f"full scale and {spike.above_db:.0f} dB above the music, which would be lost below; "
            "cut it out or limit it",
        )
    if silence_db is not None and audio.level_db < silence_db:
        raise Unusable("silent", f"level {audio.level_db:.1f} dB, below {silence_db:g} dB")


def wav_header(num_samples: int, sample_rate: int, num_channels: int) -> bytes:
    """What goes before 16-bit samples: RIFF, or RF64 (EBU Tech 3306) above 4 GiB."""
    bytes_a_sample = _BYTES_A_VALUE * num_channels
    num_bytes = num_samples * bytes_a_sample
    fmt = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, num_channels, sample_rate, sample_rate * bytes_a_sample,
        bytes_a_sample, 16,
    )  # fmt: skip
    if num_bytes + 36 <= _MAX_RIFF_BYTES:
        data = struct.pack("<4sI", b"data", num_bytes)
        return struct.pack("<4sI4s", b"RIFF", num_bytes + 36, b"WAVE") + fmt + data
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, num_bytes + 72, num_bytes, num_samples, 0)
    data = struct.pack("<4sI", b"data", _MAX_RIFF_BYTES)
    return struct.pack("<4sI4s", b"RF64", _MAX_RIFF_BYTES, b"WAVE") + ds64 + fmt + data
