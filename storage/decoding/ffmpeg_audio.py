"""Audio as FFmpeg decodes it, past damage, from one file and nothing else."""

from __future__ import annotations

from typing import Any, BinaryIO

import av
from av.stream import Discard

from storage.decoding.chunk import Chunks, Unusable, one_line
from storage.decoding.frames import Frames, Placed, joined
from storage.decoding.riff import AsWav

CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,loas,matroska,mov,mp3,mpc,mpc8,"
    "mpeg,mpegts,ogg,oma,shn,tak,truehd,tta,voc,w64,wav,webm,wv"
)
"""FFmpeg's demuxers of audio; not those that would open other files or addresses (HLS, concat)."""
_EXACT_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2", "asf", "flac", "ape", "tta", "wv"}
_DURATION_TOLERANCE_S = 0.5
_LONGEST_GAP_S = 60.0
_LOSSLESS = frozenset(("flac", "alac", "wavpack", "ape", "tta", "tak", "shorten", "wmalossless"))


class NotOpened(Unusable):
    """A file of a format that FFmpeg does not know, or with headers that it makes nothing of."""


def ffmpeg_chunks(file: BinaryIO | AsWav, stream: int | None) -> Chunks:
    """Decode a file.

    Args:
        file: opened for reading, without a buffer of Python's.
        stream: which of its audio streams; None for the one that FFmpeg takes for the best.

    Raises:
        NotOpened: FFmpeg makes nothing of it as a whole.
        Unusable: nothing can be decoded.
    """
    try:
        declares_length = _mp3_declares_length(file)
        container = av.open(
            file,
            container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": "none"},
            metadata_errors="replace",
        )
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise NotOpened("corrupt", f"no format that can be decoded ({one_line(error)})") from error
    except OSError as error:
        raise Unusable("unreadable", one_line(error)) from error
    with container:
        exact = declares_length or container.format.name in _EXACT_DURATION
        picked = _pick_stream(container, stream)
        frames = _ffmpeg_frames(container, picked, exact)
        return (yield from joined(frames, is_lossless=_is_lossless(picked)))


def _mp3_declares_length(file: BinaryIO | AsWav) -> bool:
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
    if picked.codec_context is None:
        raise Unusable("corrupt", "its audio is of a codec that is not known here")
    for other in container.streams:
        if other.index != picked.index:
            other.discard = Discard.all
    return picked


class _Damage:
    """What a file has lost on the way, so that what comes after stays in its place.

    Of a packet that does not decode, its own duration tells how much it was. A frame of FLAC says
    where it belongs, and one that is found no more leaves a gap.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._is_placed = container.format.name == "flac"
        self._time_base = stream.time_base
        self._lost_s = 0.0
        self._expected: int | None = None

    def lost(self, packet: Any) -> None:
        """A packet does not decode."""
        if not self._is_placed and packet.duration:
            self._lost_s += float(packet.duration * self._time_base)

    def gap_samples(self, frame: Any) -> int:
        """Samples that are missing before a frame."""
        gap, self._lost_s = round(self._lost_s * frame.sample_rate), 0.0
        if self._is_placed:
            place = frame.pts if frame.pts is not None else self._expected
            if place is not None and self._expected is not None:
                gap = max(0, place - self._expected)
            self._expected = None if place is None else place + frame.samples
        return gap if gap <= _LONGEST_GAP_S * frame.sample_rate else 0


def _ffmpeg_frames(container: Any, stream: Any, exact_duration: bool) -> Frames:
    """Decode packet by packet, past damaged ones, in whose place is silence."""
    decoded_s, num_packets, num_damaged, last_error = 0.0, 0, 0, "no audio in it"
    declared_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
    broken_off = False
    damage = _Damage(container, stream)
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
        except (av.FFmpegError, IndexError, ValueError) as error:
            if not packet.size:  # as a page of Ogg without packets has it: nothing is lost
                continue
            num_damaged += 1
            if decoded_s:
                damage.lost(packet)
            last_error, broken_off = one_line(error), True
            continue
        if frames and packet.size:
            broken_off = False
        for frame in frames:
            if frame.samples:
                gap = damage.gap_samples(frame)
                decoded_s += (gap + frame.samples) / frame.sample_rate
                yield Placed(gap, frame)
    if not decoded_s:
        raise Unusable("corrupt", f"nothing decodes ({last_error})")
    if 2 * num_damaged > num_packets:
        raise Unusable("corrupt", f"{num_damaged} of {num_packets} packets are damaged")
    if exact_duration:
        broken_off |= decoded_s < declared_s - _DURATION_TOLERANCE_S
    return broken_off


def _is_lossless(stream: Any) -> bool:
    codec = stream.codec_context.name
    return codec.startswith("pcm_") or codec in _LOSSLESS
