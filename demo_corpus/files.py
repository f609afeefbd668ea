"""Writes audio in the formats that a music folder holds; every file appears whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from scipy.io import wavfile

from demo_corpus.ogg import with_serial
from demo_corpus.sampler import SAMPLE_RATE

_CHUNK = 65_536
_OGG_SERIAL = 1


@dataclass(frozen=True, kw_only=True)
class AudioFormat:
    """A way to store audio. ``container`` and ``subtype`` are libsndfile's names; AAC is PyAV's.

    ``kept_share`` below one cuts the file short after that share of its samples, its header
    declaring them all. Without a ``sample_rate`` the file has the song's own.
    """

    name: str
    extension: str
    container: str
    subtype: str
    sample_rate: int | None = None
    num_channels: int = 2
    kept_share: float = 1.0


FORMATS = (
    AudioFormat(name="wav", extension=".wav", container="WAV", subtype="PCM_16"),
    AudioFormat(name="mp3", extension=".mp3", container="MP3", subtype="MPEG_LAYER_III"),
    AudioFormat(name="flac", extension=".flac", container="FLAC", subtype="PCM_16"),
    AudioFormat(name="ogg", extension=".ogg", container="OGG", subtype="VORBIS"),
    AudioFormat(name="m4a", extension=".m4a", container="M4A", subtype="AAC"),
    AudioFormat(name="mono", extension=".flac", container="FLAC", subtype="PCM_16", num_channels=1),
    AudioFormat(
        name="48k", extension=".wav", container="WAV", subtype="PCM_16", sample_rate=48_000
    ),
    AudioFormat(name="wav24", extension=".WAV", container="WAV", subtype="PCM_24"),
    AudioFormat(name="mp3", extension=".mp3", container="MP3", subtype="MPEG_LAYER_III"),
    AudioFormat(name="float", extension=".wav", container="WAV", subtype="FLOAT"),
    AudioFormat(name="cut", extension=".wav", container="WAV", subtype="PCM_16", kept_share=0.75),
)
_WAV_HEADER_BYTES = 44


def appear(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file under a temporary name beside ``path``, then give it its name.

    Raises:
        OSError: it can't be written; libsndfile does not say why, so the message tells the room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(temporary)
        temporary.replace(path)
    except soundfile.LibsndfileError as error:
        free_mib = shutil.disk_usage(path.parent).free >> 20
        reason = f"can't be written, with {free_mib} MiB free on its disk ({error})"
        raise OSError(errno.EIO, reason, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def appear_bytes(path: Path, content: bytes) -> None:
    """Write bytes to a file that appears whole."""
    appear(path, lambda temporary: _write_bytes(temporary, content))


def write_pcm16(path: Path, audio: npt.NDArray[np.int16], sample_rate: int) -> None:
    """Write (C, T) 16-bit samples as a WAV."""
    appear(
        path,
        lambda temporary: soundfile.write(
            temporary, audio.T, sample_rate, format="WAV", subtype="PCM_16"
        ),
    )


def write_audio(
    path: Path,
    audio: npt.NDArray[np.float32],
    audio_format: AudioFormat,
    sample_rate: int = SAMPLE_RATE,
) -> int:
    """Write stereo (2, T) audio of a sample rate in a format, which may have another.

    Returns:
        How many of its samples the file holds.
    """
    num_samples = int(audio.shape[1])
    if audio_format.num_channels == 1:
        audio = audio.mean(axis=0, keepdims=True)
    if audio_format.sample_rate is not None and audio_format.sample_rate != sample_rate:
        resampled = soxr.resample(audio.T, sample_rate, audio_format.sample_rate).T
        audio, sample_rate = np.clip(resampled, -1, 1), audio_format.sample_rate
    if audio_format.subtype == "AAC":
        appear(path, lambda temporary: _write_aac(temporary, audio, sample_rate))
    else:
        appear(path, lambda temporary: _write_sndfile(temporary, audio, audio_format, sample_rate))
    if audio_format.kept_share < 1:
        num_samples = int(num_samples * audio_format.kept_share)
        frame_bytes = 2 * audio_format.num_channels
        whole = path.read_bytes()
        appear_bytes(path, whole[: _WAV_HEADER_BYTES + frame_bytes * num_samples])
    return num_samples


def _write_sndfile(
    path: Path, audio: npt.NDArray[np.float32], audio_format: AudioFormat, sample_rate: int
) -> None:
    """Through libsndfile, but for what would make two runs' bytes differ."""
    if audio_format.subtype == "FLOAT":
        # libsndfile stamps float files with the time.
        wavfile.write(path, sample_rate, np.ascontiguousarray(audio.T, np.float32))
        return
    with soundfile.SoundFile(
        path,
        "w",
        samplerate=sample_rate,
        channels=audio.shape[0],
        format=audio_format.container,
        subtype=audio_format.subtype,
    ) as file:
        # libsndfile's Vorbis encoder overflows its stack on blocks of minutes.
        for start in range(0, audio.shape[1], _CHUNK):
            file.write(np.ascontiguousarray(audio[:, start : start + _CHUNK].T))
    if audio_format.container == "OGG":
        path.write_bytes(with_serial(path.read_bytes(), _OGG_SERIAL))


def _write_aac(path: Path, audio: npt.NDArray[np.float32], sample_rate: int) -> None:
    options: Mapping[str, str] = {"fflags": "+bitexact"}
    with av.open(str(path), "w", format="ipod", options=dict(options)) as container:
        stream = container.add_stream("aac", rate=sample_rate, layout="stereo", bit_rate=160_000)
        size = 1_024
        for start in range(0, audio.shape[1], size):
            block = np.ascontiguousarray(audio[:, start : start + size], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate = sample_rate
            frame.pts = start
            frame.time_base = Fraction(1, sample_rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
