"""Write audio as WAV, FLAC or MP3: several files at once, each whole or not at all."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from storage.decoding.chunk import Unusable, one_line
from storage.workspace import remove_if_left

Format = Literal["wav", "flac", "mp3"]

BITS: Final[dict[Format, tuple[int, ...]]] = {"wav": (16, 24, 32), "flac": (16, 24), "mp3": (16,)}
"""Bits a sample that a format can hold; 32 are floating point. To MP3 they mean nothing."""

PARTS = ".*.part"
"""The names of files that are being written."""

_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_SUBTYPES = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}
_RIFF_BYTES = 0xFFFF_0000
"""Above, sizes do not fit RIFF's 32 bits (with room for headers), and the WAV becomes an RF64."""


def encodable_rate(file_format: Format, sample_rate: int) -> int:
    """The rate to write audio of ``sample_rate`` at: the same, where the format has it.

    MP3 has nine rates; others become the next higher one, or its highest one of the same family.

    >>> encodable_rate("flac", 96_000), encodable_rate("mp3", 96_000), encodable_rate("mp3", 88_200)
    (96000, 48000, 44100)
    """
    if file_format != "mp3":
        return sample_rate
    higher = [rate for rate in _MP3_RATES if rate >= sample_rate]
    if higher:
        return higher[0]
    return 44_100 if sample_rate % 44_100 == 0 else 48_000


class AudioWriter:
    """Appends blocks to several files of one length; made by :func:`writing`."""

    def __init__(self, sounds: Sequence[Any], bits: int | None) -> None:
        self._sounds, self._bits = sounds, bits

    def write(self, blocks: NDArray[np.float32]) -> None:
        """Append ``(files, C, n)``; beyond full scale, all but floating point is limited."""
        for sound, block in zip(self._sounds, blocks, strict=True):
            sound.write(_samples(block.T, self._bits))


def _samples(frames: NDArray[np.float32], bits: int | None) -> NDArray[Any]:
    """Samples as libsndfile stores them unchanged; None are for a lossy encoder.

    Scaled by ``2 ** (bits - 1)``, as decoders do in the other direction, and rounded: what came in
    with as many bits comes out bit by bit. libsndfile itself scales by one less.
    """
    if bits is None:
        return np.ascontiguousarray(frames.clip(-1, 1))
    if bits == 32:
        return np.ascontiguousarray(frames)
    full_scale = 2 ** (bits - 1)
    scaled: NDArray[np.float64] = np.rint(frames.astype(np.float64) * full_scale)
    scaled = scaled.clip(-full_scale, full_scale - 1)
    # libsndfile takes the upper 24 bits of 32
    return scaled.astype(np.int16) if bits == 16 else scaled.astype(np.int32) << 8


@contextmanager
def writing(
    folder: Path,
    names: Sequence[str],
    *,
    file_format: Format,
    bits: int,
    sample_rate: int,
    num_channels: int,
    num_samples: int,
) -> Generator[AudioWriter]:
    """Write ``folder/name.format`` for each name, in the place of files of these names.

    The files take their names when the context ends, synced, and not at all if it ends with an
    exception. A process that is killed leaves files that begin with a dot and end in ``.part``; the
    next one that writes to the folder removes them.

    Args:
        folder: made if it isn't there.
        names: of the files, without extension.
        file_format: FLAC is lossless at its usual effort, MP3 has 320 kbit/s.
        bits: see :data:`BITS`.
        sample_rate: must be one of :func:`encodable_rate`.
        num_channels: 1 or 2.
        num_samples: that will be written, to choose a header that can tell it.

    Raises:
        Unusable: the format can't hold such audio, or the disk is full.
        OSError: the folder or a file can't be made.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(PARTS):
        remove_if_left(left)
    targets = [folder / f"{name}.{file_format}" for name in names]
    parts = [target.with_name(f".{target.name}.{uuid.uuid4().hex}.part") for target in targets]
    container = file_format.upper()
    if file_format == "wav" and num_samples * num_channels * bits // 8 > _RIFF_BYTES:
        container = "RF64"
    options: dict[str, Any] = {"subtype": _SUBTYPES[bits]}
    if file_format == "mp3":
        options = {
            "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": 0.0
        }  # fmt: skip
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(part.open("xb")) for part in parts]
            for file in files:
                with suppress(OSError):  # a file system without locks; nothing is swept there
                    fcntl.flock(file, fcntl.LOCK_EX)
            with ExitStack() as encoders:
                sounds = [
                    encoders.enter_context(
                        soundfile.SoundFile(
                            file.fileno(), "w", sample_rate, num_channels,
                            format=container, closefd=False, **options,
                        )
                    )
                    for file in files
                ]  # fmt: skip
                yield AudioWriter(sounds, None if file_format == "mp3" else bits)
            for file in files:
                os.fsync(file.fileno())
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)
    except BaseException as error:
        for part in parts:
            part.unlink(missing_ok=True)
        if made and not any(folder.iterdir()):
            folder.rmdir()
        if isinstance(error, soundfile.LibsndfileError):
            detail = f"{folder}: no {file_format} can be written here ({one_line(error)})"
            raise Unusable("unwritable", detail) from error
        raise
