"""Loudness after ITU-R BS.1770 (EBU R 128), by FFmpeg's filter ``ebur128``, block by block."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

LEAST_LUFS = -70.0
"""Of what is silent, or shorter than the 0.4 s that a measurement takes: the gate's threshold."""


class Loudness:
    """Measures audio of 16 bits.

    Args:
        sample_rate: samples a second.
        num_channels: 1 or 2.
    """

    def __init__(self, sample_rate: int, num_channels: int) -> None:
        self._rate = sample_rate
        self._layout = "stereo" if num_channels == 2 else "mono"
        self._position = 0
        self._lufs = LEAST_LUFS
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(
            sample_rate=sample_rate, format="s16", layout=self._layout,
            time_base=Fraction(1, sample_rate),
        )  # fmt: skip
        meter = self._graph.add("ebur128", "metadata=1:framelog=quiet")
        sink = self._graph.add("abuffersink")
        source.link_to(meter)
        meter.link_to(sink)
        self._graph.configure()

    def feed(self, pcm: NDArray[np.int16]) -> None:
        """Hear a block ``(T, C)``."""
        if not len(pcm):
            return
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout=self._layout
        )
        frame.sample_rate, frame.pts = self._rate, self._position
        self._position += len(pcm)
        self._graph.push(frame)
        self._take()

    def finish(self) -> float:
        """Integrated loudness of all that was heard, in LUFS."""
        self._graph.push(None)
        self._take()
        return self._lufs

    def _take(self) -> None:
        while True:
            try:
                told = self._graph.pull().metadata
            except (av.BlockingIOError, av.EOFError):
                return
            self._lufs = max(LEAST_LUFS, float(told.get("lavfi.r128.I", self._lufs)))
