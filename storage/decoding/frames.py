"""FFmpeg's frames, a fiftieth of a second each, joined to longer chunks of float samples."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import DTypeLike

from storage.decoding.chunk import BLOCK_SAMPLES, Chunk, Chunks, Unusable

_MOST_PLANES = 8
_KINDS: dict[str, tuple[DTypeLike, int]] = {
    "u8": (np.uint8, 2**7),
    "s16": (np.int16, 2**15),
    "s32": (np.int32, 2**31),
    "flt": (np.float32, 1),
    "dbl": (np.float64, 1),
}
"""Of FFmpeg's kinds of samples, packed or planar, the type and what full scale is."""


class Placed(NamedTuple):
    """A frame of PyAV's, and how many samples of silence belong before it."""

    gap_samples: int
    frame: Any


Frames = Generator[Placed, None, bool]
"""Yields frames that have samples; returns whether the file broke off."""


def joined(frames: Frames, *, is_lossless: bool) -> Chunks:
    """Join frames to chunks, up to the next change of format.

    Raises:
        Unusable: samples of a kind that can't be read.
    """
    run: list[Placed] = []
    num_values, kind = 0, None
    while True:
        try:
            placed = next(frames)
        except StopIteration as end:
            if run:
                yield _chunk(run, is_lossless)
            return bool(end.value)
        gap_samples, frame = placed
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        if run and (num_values >= 2 * BLOCK_SAMPLES or found != kind):
            yield _chunk(run, is_lossless)
            run, num_values = [], 0
        kind = found
        run.append(placed)
        num_values += (gap_samples + frame.samples) * frame.layout.nb_channels


def _chunk(run: Sequence[Placed], is_lossless: bool) -> Chunk:
    """Frames of one format as one chunk, whose samples lie interleaved."""
    first = run[0].frame
    name = first.format.name.removesuffix("p")
    if name not in _KINDS:
        raise Unusable("corrupt", f"samples of a kind that can't be read: {first.format.name}")
    dtype, full_scale = _KINDS[name]
    middle = full_scale if name == "u8" else 0
    num_channels, is_planar = first.layout.nb_channels, first.format.is_planar
    if is_planar and num_channels >= _MOST_PLANES:
        # PyAV reads behind the end of the list of planes of so many channels
        packer = av.AudioResampler(format=name, layout=first.layout)
        run = [Placed(gap, packed) for gap, frame in run for packed in packer.resample(frame)]
        is_planar = False
    num_samples = sum(gap_samples + frame.samples for gap_samples, frame in run)
    audio = np.empty((num_samples, num_channels), dtype=np.float32)
    stop = 0
    with np.errstate(over="ignore"):
        for gap_samples, frame in run:
            start = stop + gap_samples
            audio[stop:start] = middle
            stop = start + frame.samples
            if is_planar:
                for channel, plane in enumerate(frame.planes):
                    audio[start:stop, channel] = np.frombuffer(plane, dtype, stop - start)
            else:
                values = np.frombuffer(frame.planes[0], dtype, (stop - start) * num_channels)
                audio[start:stop] = values.reshape(-1, num_channels)
    if middle:
        audio -= np.float32(middle)
    if full_scale != 1:
        audio *= np.float32(1 / full_scale)
    speakers = tuple(channel.name for channel in first.layout.channels)
    return Chunk(audio.T, first.sample_rate, speakers, is_lossless)
