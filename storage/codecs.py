"""What a file holds, as decoded: two libraries, and which of them reads which file.

libsndfile reads what it reads exactly (WAV, AIFF, FLAC and kin); FFmpeg, through PyAV, the rest.
MP3 and Ogg are FFmpeg's too: of MP3, libsndfile reads as much as a header declares, and cuts a VBR
file without that header in the middle; of chained Ogg, it reads the first link alone. What a file
is, its first bytes tell, not its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
import soundfile
from av.stream import Discard
from numpy.typing import NDArray

BLOCK_SAMPLES = 65_536
_MAGIC = re.compile(rb"RIFF|RIFX|RF64|FORM|fLaC|caff|\.snd|riff")
_OVERLONG_DATA = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED_BYTES = 0x7FFF_F000
"""Sizes from here on are no sizes: a program that wrote to a pipe did not know any."""
_UNKNOWN_LENGTH = 2**62
_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,loas,matroska,mov,mp3,mpc,mpc8,"
    "mpeg,mpegts,ogg,oma,shn,tak,truehd,tta,voc,w64,wav,webm,wv"
)
"""FFmpeg's demuxers of audio; not those that would open other files or addresses (HLS, concat)."""
_EXACT_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2", "asf", "flac", "ape", "tta", "wv"}
_DURATION_TOLERANCE_S = 0.5
_MOST_PLANES = 8
_FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "flt": 1, "dbl": 1}


class Unusable(ValueError):  # noqa: N818 - no error of ours: a property of somebody's file
    """A file that can't be used.

    Attributes:
        reason: ``missing``, ``unreadable`` (rights, a folder), ``empty`` (no bytes),
            ``no_audio_stream``, ``corrupt``, ``truncated`` (too little left to use), ``too_short``,
            ``silent``, ``non_finite``, ``decoder_crashed``, ``too_slow``, ``too_large``, or what a
            caller adds; short, to count by.
        detail: what exactly was wrong, in one line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Chunk(NamedTuple):
    """Decoded audio ``(C, n)`` as the file has it, with FFmpeg's name of each channel's speaker."""

    audio: NDArray[np.float32]
    sample_rate: int
    speakers: tuple[str, ...]


Chunks = Generator[Chunk, None, bool]
"""Yields chunks; returns whether the file broke off."""


def chunks(file: BinaryIO, stream: int | None) -> Chunks:
    """Decode a file of the operating system, by whichever library reads it exactly.

    Args:
        file: opened for reading, without a buffer of Python's.
        stream: which of its audio streams; None for the one that FFmpeg takes for the best.

    Raises:
        Unusable: nothing can be decoded.
    """
    try:
        num_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        magic = file.read(4)
        file.seek(0)
    except OSError as error:
        raise Unusable("unreadable", one_line(error)) from error
    if not num_bytes:
        raise Unusable("empty", "the file has no bytes")
    num_done = 0
    if not stream and _MAGIC.match(magic):
        try:
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                if _is_exact(sound):
                    for chunk in _libsndfile_chunks(sound):
                        num_done += chunk.audio.shape[1]
                        yield chunk
                    return num_done < sound.frames or _broke_off(sound)
        except soundfile.LibsndfileError:
            pass  # FFmpeg may know it, or get past the damage
    file.seek(0)
    try:
        return (yield from _after(num_done, _ffmpeg_chunks(file, stream)))
    except Unusable:
        if num_done:
            return True
        raise


def _is_exact(sound: soundfile.SoundFile) -> bool:
    """Whether libsndfile knows the length, and no speaker matters that it would not name."""
    lengths = 0 < sound.frames < _UNKNOWN_LENGTH
    return bool(lengths and sound.channels <= 2 and not sound.subtype.startswith("MPEG"))


def _broke_off(sound: soundfile.SoundFile) -> bool:
    """Whether a header declares more than is there; libsndfile goes by what is there."""
    sizes = _OVERLONG_DATA.findall(sound.extra_info)
    return any(int(there) < int(declared) < _STREAMED_BYTES for declared, there in sizes)


def _libsndfile_chunks(sound: soundfile.SoundFile) -> Iterator[Chunk]:
    speakers = ("FC",) if sound.channels == 1 else ("FL", "FR")
    while len(audio := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
        yield Chunk(audio.T, sound.samplerate, speakers)


def _after(num_samples: int, decoded: Chunks) -> Chunks:
    """Leave out the first samples."""
    while True:
        try:
            chunk = next(decoded)
        except StopIteration as end:
            return bool(end.value)
        audio = chunk.audio[:, num_samples:]
        num_samples -= chunk.audio.shape[1] - audio.shape[1]
        if audio.shape[1]:
            yield chunk._replace(audio=audio)


def _ffmpeg_chunks(file: BinaryIO, stream: int | None) -> Chunks:
    try:
        declares_length = _mp3_declares_length(file)
        container = av.open(
            file,
            container_options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"},
            metadata_errors="replace",
        )
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise Unusable("corrupt", f"no format that can be decoded ({one_line(error)})") from error
    except OSError as error:
        raise Unusable("unreadable", one_line(error)) from error
    with container:
        exact = declares_length or container.format.name in _EXACT_DURATION
        frames = _ffmpeg_frames(container, _pick_stream(container, stream), exact)
        return (yield from _joined(frames))


def _mp3_declares_length(file: BinaryIO) -> bool:
    """Whether an MP3 begins with a frame that tells its length; others have theirs guessed."""
    head = file.read(10)
    tag_bytes = 0
    if head[:3] == b"ID3" and len(head) == 10:
        tag_bytes = 10 + sum((byte & 0x7F) << 7 * (9 - i) for i, byte in enumerate(head) if i > 5)
    file.seek(tag_bytes)
    frame = file.read(64)
    file.seek(0)
    is_mpeg = len(frame) > 2 and frame[0] == 0xFF and frame[1] & 0xE0 == 0xE0
    return is_mpeg and any(name in frame for name in (b"Xing", b"Info", b"VBRI"))


def _pick_stream(container: Any, stream: int | None) -> Any:
    streams = container.streams.audio
    if not streams:
        kinds = ", ".join(sorted({found.type for found in container.streams})) or "none"
        raise Unusable("no_audio_stream", f"holds no audio; kinds of its streams: {kinds}")
    if stream is None:
        picked = container.streams.best("audio") or streams[0]
    elif 0 <= stream < len(streams):
        picked = streams[stream]
    else:
        raise Unusable("no_audio_stream", f"no audio stream {stream} among {len(streams)}, from 0")
    for other in container.streams:
        if other.index != picked.index:
            other.discard = Discard.all
    return picked


def _ffmpeg_frames(container: Any, stream: Any, exact_duration: bool) -> Chunks:
    """Decode packet by packet, past damaged ones, as players do."""
    decoded_s, num_packets, num_damaged, last_error = 0.0, 0, 0, "no audio in it"
    declared_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
    broken_off = False
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except MemoryError:
            raise
        except av.FFmpegError as error:
            last_error, broken_off = one_line(error), True
            break
        except OSError as error:
            raise Unusable("unreadable", one_line(error)) from error
        if packet is None:
            break
        num_packets += packet.size > 0
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError as error:
            num_damaged += packet.size > 0
            last_error, broken_off = one_line(error), True
            continue
        if frames and packet.size:
            broken_off = False
        for frame in frames:
            if frame.samples:
                decoded_s += frame.samples / frame.sample_rate
                yield _frame_chunk(frame)
    if not decoded_s:
        raise Unusable("corrupt", f"nothing decodes ({last_error})")
    if 2 * num_damaged > num_packets:
        raise Unusable("corrupt", f"{num_damaged} of {num_packets} packets are damaged")
    if exact_duration:
        broken_off |= decoded_s < declared_s - _DURATION_TOLERANCE_S
    return broken_off


def _frame_chunk(frame: Any) -> Chunk:
    kind = frame.format.name.removesuffix("p")
    if kind not in _FULL_SCALE:
        raise Unusable("corrupt", f"samples of a kind that can't be read: {frame.format.name}")
    if frame.format.is_planar and frame.layout.nb_channels >= _MOST_PLANES:
        # PyAV reads behind the end of the list of planes of so many channels
        (frame,) = av.AudioResampler(format=kind, layout=frame.layout).resample(frame)
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    with np.errstate(over="ignore"):
        audio = values.astype(np.float32)
    if kind == "u8":
        audio -= np.float32(_FULL_SCALE[kind])
    if _FULL_SCALE[kind] != 1:
        audio *= np.float32(1 / _FULL_SCALE[kind])
    speakers = tuple(channel.name for channel in frame.layout.channels)
    return Chunk(audio, frame.sample_rate, speakers)


def _joined(frames: Chunks) -> Chunks:
    """Join short frames to longer chunks, up to the next change of format."""
    pending: list[Chunk] = []
    num_values = 0
    while True:
        try:
            chunk: Chunk | None = next(frames)
        except StopIteration as end:
            chunk, broken_off = None, bool(end.value)
        if pending and (
            chunk is None or num_values >= 2 * BLOCK_SAMPLES or pending[0][1:] != chunk[1:]
        ):
            audio = np.concatenate([part.audio for part in pending], axis=1)
            yield pending[0]._replace(audio=audio)
            pending, num_values = [], 0
        if chunk is None:
            return broken_off
        pending.append(chunk)
        num_values += chunk.audio.size


def one_line(error: BaseException) -> str:
    """What a library or the operating system had to say, without paths and line breaks."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
