"""Files of music, through the process that decodes them and the checks after it."""

from __future__ import annotations

import io
import random
from pathlib import Path

import av
import numpy as np
import soundfile
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from benchmarks.fuzzing.target import Bytes, CrashError, in_short
from storage import reading
from storage.decoding import canonical
from storage.decoding.chunk import Unusable
from storage.decoding.decode import open_local
from storage.decoding.decoder_process import decoder

RATE = 44_100
HEADER_BYTES = 44
_LOCAL = LocalFileSystem()
_CRASHED = frozenset(("decoder_crashed", "too_slow", "too_large"))

SNDFILE = (
    ("WAV", "PCM_16", 2, 8_000), ("WAV", "PCM_24", 2, 44_100), ("WAV", "FLOAT", 1, 44_100),
    ("WAV", "PCM_U8", 1, 8_000), ("WAV", "IMA_ADPCM", 1, 8_000), ("WAVEX", "PCM_16", 6, 8_000),
    ("RF64", "PCM_16", 2, 8_000), ("W64", "PCM_16", 1, 8_000), ("AIFF", "PCM_16", 2, 8_000),
    ("AIFF", "FLOAT", 1, 8_000), ("AU", "PCM_16", 1, 8_000), ("CAF", "PCM_16", 2, 8_000),
    ("CAF", "ALAC_16", 2, 44_100), ("FLAC", "PCM_16", 2, 44_100), ("FLAC", "PCM_24", 1, 8_000),
    ("OGG", "VORBIS", 2, 44_100), ("OGG", "OPUS", 2, 48_000), ("MP3", "MPEG_LAYER_III", 2, 44_100),
)  # fmt: skip
"""Container, kind of samples, channels and rate."""

FFMPEG = (
    ("ipod", "aac", "fltp", 44_100), ("ipod", "alac", "s16p", 44_100),
    ("mov", "pcm_s16le", "s16", 8_000), ("adts", "aac", "fltp", 44_100),
    ("mpegts", "aac", "fltp", 44_100), ("matroska", "flac", "s16", 44_100),
    ("webm", "libopus", "s16", 48_000), ("asf", "wmav2", "fltp", 44_100),
    ("wv", "wavpack", "s16p", 44_100), ("tta", "tta", "s16", 44_100),
    ("ac3", "ac3", "fltp", 44_100), ("avi", "pcm_s16le", "s16", 8_000),
    ("flv", "aac", "fltp", 44_100), ("mp3", "libmp3lame", "fltp", 44_100),
)  # fmt: skip
"""Container, codec, how that takes samples, and rate."""


class Audio(Bytes):
    """Any file of music, as ``ingest`` takes it, and one of eight as ``separate`` does."""

    name = "audio"
    own_tokens = (
        b"RIFF", b"RF64", b"WAVE", b"fmt ", b"data", b"ds64", b"LIST", b"\xff\x00", b"FORM",
        b"AIFC", b"SSND", b"COMM", b"fLaC", b"OggS", b"OpusHead", b"\x01vorbis", b"ID3", b"TAG",
        b"Xing", b"ftyp", b"moov", b"trak", b"stsd", b"stco", b"stts", b"mdat", b"url ",
        b"\x1aE\xdf\xa3", b"wvpk", b"TTA1", b"caff", b"desc", b"pakt", b"\x47\x40\x00",
        b"0&\xb2u\x8ef\xcf\x11",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        good = sndfile_bytes("WAV", "PCM_16", 2, RATE)
        self._good = folder / "good.wav"
        self._good.write_bytes(good)
        self._right: str | None = None

    def seeds(self) -> list[bytes]:
        """A third of a second in every container that can be written here."""
        found = [sndfile_bytes(*kind) for kind in SNDFILE]
        for kind in FFMPEG:
            try:
                found.append(ffmpeg_bytes(*kind))
            except (av.FFmpegError, ValueError):  # an FFmpeg without it
                continue
        return found

    def run(self, content: bytes, draws: random.Random) -> str:
        """Decode it to canonical audio, and read that; a good file must still be read after."""
        path = self.folder / "case.wav"
        path.write_bytes(content)
        try:
            said = self._first_chunk(path) if draws.random() < 1 / 8 else self._whole(path)
        except Unusable as problem:
            if problem.reason in _CRASHED:
                self._require_good()
            said = f"{problem.reason}: {in_short(problem.detail)}"
        if draws.random() < 1 / 200:
            self._require_good()
        return said

    def _first_chunk(self, path: Path) -> str:
        with open_local(_LOCAL, str(path)) as file:
            first = decoder().ask(file, None, {"name": path.name})
        return f"begins with {in_short(first)}"

    def _whole(self, path: Path) -> str:
        with canonical.prepare(
            _LOCAL, str(path), sample_rate=RATE, num_channels=2,
            min_duration_s=0.0, allow_silence=True,
        ) as audio:  # fmt: skip
            written = io.BytesIO()
            audio.write_wav(written)
            if (
                len(audio.content_hash()) != 64
                or not np.isfinite((audio.peak, audio.level_db)).all()
            ):
                raise CrashError(f"measured as {audio.measured()}")
            layout = reading.parse_wav_header(written.getbuffer()[:HEADER_BYTES].tobytes(), "case")
            if written.tell() != HEADER_BYTES + 4 * audio.num_samples or (
                layout.num_samples != audio.num_samples
            ):
                raise CrashError(f"written as {layout} of {written.tell()} bytes")
            return "whole" if not audio.truncated else "broke off"

    def _require_good(self) -> None:
        with canonical.prepare(_LOCAL, str(self._good), sample_rate=RATE, num_channels=2,
                               min_duration_s=0.0) as audio:  # fmt: skip
            found = audio.content_hash()
        self._right = self._right or found
        if found != self._right:
            raise CrashError("the file after it was decoded to something else")


class CanonicalWav(Bytes):
    """Canonical audio that somebody changed, as stages read crops of it."""

    name = "wav"
    own_tokens = (b"RIFF", b"RF64", b"ds64", b"fmt ", b"data", b"WAVE", b"LIST")

    def seeds(self) -> list[bytes]:
        """Short ones, mono and stereo, also with the header that longer than 4 GiB have."""
        samples = np.arange(2_000, dtype="<i2").tobytes()
        return [
            canonical.wav_header(1_000, 44_100, 2) + samples,
            canonical.wav_header(2_000, 8_000, 1) + samples,
            canonical.wav_header(2**31, 44_100, 2) + samples,
        ]

    def run(self, content: bytes, draws: random.Random) -> str:
        """Read crops, and all of it up to some blocks."""
        path = self.folder / "audio" / "case.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        if not (self.folder / "workspace.json").exists():
            (self.folder / "workspace.json").write_text('{"format": 1}')
        reading._layout.cache_clear()  # canonical files never change, but for this one
        reader = reading.CropReader(str(self.folder))
        try:
            crop = reader("audio/case.wav", draws.choice((0, -10, 900, 2**40)), 500)
            for number, block in enumerate(reader.blocks("audio/case.wav", 600)):
                if not np.isfinite(block).all() or number > 5:
                    break
        except reading.CanonicalAudioError as error:
            return in_short(error)
        return f"read, {len(crop)} channels" if len(crop) < 3 else "read, many channels"


def music(num_channels: int, rate: int) -> NDArray[np.float32]:
    """A third of a second, ``(T, C)``."""
    rng = np.random.default_rng(0)
    time_s = np.arange(rate // 3) / rate
    tones = [0.3 * np.sin(2 * np.pi * 220 * (1 + each) * time_s) for each in range(num_channels)]
    return (np.stack(tones, 1) + 0.02 * rng.standard_normal((len(time_s), num_channels))).astype(
        np.float32
    )


def sndfile_bytes(container: str, subtype: str, num_channels: int, rate: int) -> bytes:
    """A file of libsndfile's."""
    file = io.BytesIO()
    soundfile.write(file, music(num_channels, rate), rate, format=container, subtype=subtype)
    return file.getvalue()


def ffmpeg_bytes(container: str, codec: str, kind: str, rate: int) -> bytes:
    """A file of FFmpeg's."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.format = kind
        output.start_encoding()
        resampler = av.AudioResampler(
            format=kind, layout="stereo", rate=rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )  # fmt: skip
        audio = np.ascontiguousarray(music(2, rate).T)
        frame = av.AudioFrame.from_ndarray(audio, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        for piece in (frame, None):
            for ready in resampler.resample(piece):
                output.mux(stream.encode(ready))
        output.mux(stream.encode(None))
    return file.getvalue()
