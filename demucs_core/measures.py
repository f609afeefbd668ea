"""What some audio is like as a whole: clipping, silence, bandwidth, stereo, offset.

Shapes: blocks are ``(T, C)`` integers of 16 bits, as canonical audio has them; ``C`` is 1 or 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from demucs_core.activity import FLOOR_DB

FULL_SCALE = 2**15
CLIPPED = FULL_SCALE - 1
CLIPPED_RUN = 3
"""So many samples in a row at full scale are clipped; one or two may be a peak."""

SILENT_DB = -60.0
SILENCE_S = 0.1
"""Stretches of this length are silent or not."""

CHUNK_STRETCHES = 40
"""So many of them are measured at once: four seconds."""

FFT_SAMPLES = 4096
ONE_IN = 8
"""Of so many windows of that length one is transformed."""

BELOW_LOUDEST_DB = -85.0
NOISE_DB = -120.0
"""A frequency is there if its mean power is not so far below the loudest one's, and above what
rounding to 16 bits leaves in a bin, -131 dB re full scale, by some."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What audio is like.

    Attributes:
        clipped_share: share of the samples that are clipped.
        silent_share: share of the time that is silent.
        bandwidth_hz: highest frequency that is there; far below half the rate in what was encoded
            by a lossy codec, or had another rate once.
        side_db: level of the difference of both channels against that of their sum; -120 of mono.
        dc_offset: largest mean of a channel, re full scale.
    """

    clipped_share: float
    silent_share: float
    bandwidth_hz: float
    side_db: float
    dc_offset: float


class Measuring:
    """Measures audio block by block, of any lengths.

    Args:
        sample_rate: samples a second.
        num_channels: 1 or 2.
    """

    def __init__(self, sample_rate: int, num_channels: int) -> None:
        self._rate, self._num_channels = sample_rate, num_channels
        self._num_samples = self._num_clipped = self._num_silent = self._num_stretches = 0
        self._sums = np.zeros(num_channels)
        self._mid = self._side = 0.0
        self._spectrum, self._num_spectra = np.zeros(FFT_SAMPLES // 2 + 1), 0
        self._window = np.hanning(FFT_SAMPLES).astype(np.float32)
        self._rest = np.zeros((0, num_channels), np.int16)
        self._step = round(SILENCE_S * sample_rate)
        self._chunk = self._step * CHUNK_STRETCHES

    def feed(self, pcm: NDArray[np.int16]) -> None:
        """Hear a block ``(T, C)``."""
        samples = np.concatenate([self._rest, pcm]) if len(self._rest) else pcm
        whole = len(samples) - len(samples) % self._chunk
        for start in range(0, whole, self._chunk):
            self._measure(samples[start : start + self._chunk])
        self._rest = samples[whole:].copy()

    def finish(self) -> Measures:
        """What all of it was like."""
        if len(self._rest):
            self._measure(self._rest)
        count = max(self._num_samples, 1)
        ratio = self._side / self._mid if self._mid else 0.0
        return Measures(
            clipped_share=self._num_clipped / (count * self._num_channels),
            silent_share=self._num_silent / max(self._num_stretches, 1),
            bandwidth_hz=self._bandwidth_hz(),
            side_db=max(FLOOR_DB, 10 * math.log10(ratio)) if ratio > 0 else FLOOR_DB,
            dc_offset=float(np.abs(self._sums / count).max()),
        )

    def _measure(self, pcm: NDArray[np.int16]) -> None:
        self._num_samples += len(pcm)
        audio = np.ascontiguousarray(pcm.T).astype(np.float32) * np.float32(1 / FULL_SCALE)
        self._sums += audio.sum(axis=1)
        if self._num_channels == 2:
            mid, side = audio[0] + audio[1], audio[0] - audio[1]
            self._mid += float(mid @ mid)
            self._side += float(side @ side)
        if pcm.max() >= CLIPPED or pcm.min() <= -CLIPPED:
            self._num_clipped += sum(_num_in_runs(channel) for channel in pcm.T)
        whole = pcm.shape[0] - pcm.shape[0] % self._step
        self._count_silent(audio[:, :whole].reshape(self._num_channels, -1, self._step))
        if whole < pcm.shape[0]:
            self._count_silent(audio[:, None, whole:])
        if pcm.shape[0] >= FFT_SAMPLES:
            windows = sliding_window_view(audio, FFT_SAMPLES, axis=1)[:, :: FFT_SAMPLES * ONE_IN]
            spectra = np.fft.rfft(windows.mean(axis=0) * self._window)
            self._spectrum += (spectra.real**2 + spectra.imag**2).sum(axis=0)
            self._num_spectra += len(spectra)

    def _count_silent(self, stretches: NDArray[np.float32]) -> None:
        """Of stretches ``(C, N, samples)``."""
        power = np.einsum("cns,cns->n", stretches, stretches)
        least = 10 ** (SILENT_DB / 10) * self._num_channels * stretches.shape[2]
        self._num_silent += int((power < least).sum())
        self._num_stretches += len(power)

    def _bandwidth_hz(self) -> float:
        power = self._spectrum / max(self._num_spectra, 1) / self._window.sum() ** 2
        least = max(power.max() * 10 ** (BELOW_LOUDEST_DB / 10), 10 ** (NOISE_DB / 10))
        there = np.flatnonzero(power > least)
        return float(there[-1] * self._rate / FFT_SAMPLES) if len(there) else 0.0


def _num_in_runs(samples: NDArray[np.int16]) -> int:
    """How many samples stand in a row of clipped ones that is long enough."""
    at = np.concatenate(([False], (samples >= CLIPPED) | (samples <= -CLIPPED), [False]))
    edges = np.flatnonzero(np.diff(at))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= CLIPPED_RUN].sum())
