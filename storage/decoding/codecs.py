"""What a file holds, as decoded: two libraries, and which of them reads which file.

libsndfile reads what it reads exactly (WAV, AIFF, FLAC and kin); FFmpeg, through PyAV, the rest.
MP3 and Ogg are FFmpeg's too: of MP3, libsndfile reads as much as a header declares, and cuts a VBR
file without that header in the middle; of chained Ogg, it reads the first link alone. But it reads
Ogg that FFmpeg refuses, with headers twice, as some editors leave it. What a file is, its first
bytes tell, not its name. Neither reads all there is where a header declares less
(:mod:`storage.decoding.riff`), or knows noise for what it is (:mod:`storage.decoding.bitstreams`).
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from typing import BinaryIO

import soundfile

from storage.decoding.bitstreams import bitstream_in
from storage.decoding.chunk import BLOCK_SAMPLES, Chunk, Chunks, Unusable, one_line
from storage.decoding.ffmpeg_audio import NotOpened, ffmpeg_chunks
from storage.decoding.riff import STREAMED_BYTES, AsWav, misplaced_samples

_MAGIC = re.compile(rb"RIFF|RIFX|RF64|FORM|fLaC|caff|\.snd|riff")
_OGG = b"OggS"
_OVERLONG_DATA = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_LENGTH = 2**62
_READ_AHEAD_BYTES = 8192
"""How far libFLAC may have read behind the last frame that it gave out."""


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
        misplaced = [] if stream else misplaced_samples(file)
        file.seek(0)
        magic = file.read(4)
        file.seek(0)
    except OSError as error:
        raise Unusable("unreadable", one_line(error)) from error
    if not num_bytes:
        raise Unusable("empty", "the file has no bytes")
    if misplaced:
        for samples in misplaced:
            yield from _samples_alone(ffmpeg_chunks(AsWav(file, samples), None))
        return any(samples.is_cut for samples in misplaced)
    if stream or not _MAGIC.match(magic):
        try:
            return (yield from _samples_alone(ffmpeg_chunks(file, stream)))
        except NotOpened as error:
            if stream or magic != _OGG:
                raise
            return (yield from _ogg_chunks(file, error))
    num_done, goes_on = 0, False
    try:
        with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            if _is_exact(sound):
                with closing(_samples_alone(_libsndfile_chunks(sound))) as decoded:
                    for chunk in decoded:
                        num_done += chunk.audio.shape[1]
                        yield chunk
                broke_off = num_done < sound.frames or _broke_off(sound)
                goes_on = sound.format == "FLAC" and _bytes_left(file) > _READ_AHEAD_BYTES
                if not goes_on:
                    return broke_off
    except (soundfile.LibsndfileError, _Bitstream):
        pass  # FFmpeg may know it, or get past the damage
    file.seek(0)
    try:
        return (yield from _after(num_done, _samples_alone(ffmpeg_chunks(file, stream))))
    except Unusable:
        if num_done:
            return not goes_on
        raise


class _Bitstream(Unusable):
    """Samples that are none."""


def _samples_alone(decoded: Chunks) -> Chunks:
    """Refuse what a decoder takes for samples and is none: looked for where a file first sounds."""
    is_known = False
    while True:
        try:
            chunk = next(decoded)
        except StopIteration as end:
            return bool(end.value)
        if not is_known and chunk.is_lossless and chunk.audio.any():
            is_known = True
            if kind := bitstream_in(chunk.audio):
                detail = f"holds {kind} where it declares samples; decode it to music first"
                raise _Bitstream("bitstream", detail)
        yield chunk


def _is_exact(sound: soundfile.SoundFile) -> bool:
    """Whether libsndfile knows the length, and no speaker matters that it would not name."""
    lengths = 0 < sound.frames < _UNKNOWN_LENGTH
    return bool(lengths and sound.channels <= 2 and not sound.subtype.startswith("MPEG"))


def _broke_off(sound: soundfile.SoundFile) -> bool:
    """Whether a header declares more than is there; libsndfile goes by what is there."""
    sizes = _OVERLONG_DATA.findall(sound.extra_info)
    return any(int(there) < int(declared) < STREAMED_BYTES for declared, there in sizes)


def _ogg_chunks(file: BinaryIO, refused: NotOpened) -> Chunks:
    """What libsndfile makes of an Ogg; raises what FFmpeg did where that is nothing."""
    file.seek(0)
    try:
        with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            if not _is_exact(sound):
                raise refused
            yield from _libsndfile_chunks(sound)
    except soundfile.LibsndfileError:
        raise refused from None
    return _bytes_left(file) > _READ_AHEAD_BYTES


def _libsndfile_chunks(sound: soundfile.SoundFile) -> Chunks:
    speakers = ("FC",) if sound.channels == 1 else ("FL", "FR")
    is_lossless = sound.format != "OGG"
    while len(audio := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
        yield Chunk(audio.T, sound.samplerate, speakers, is_lossless)
    return False


def _bytes_left(file: BinaryIO) -> int:
    """How much of a file nobody has read."""
    fd = file.fileno()
    return os.fstat(fd).st_size - os.lseek(fd, 0, os.SEEK_CUR)


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
