"""Log-mel spectrograms of mid and side, or of mono: what the silence detector hears.

Shapes: B batch, C channels (mid and side, or mono alone), T samples, K spectrum bins, M mel bands,
N spectrum frames. Spectrum frame n is centred on sample ``(n + 1/2) * hop``, so that with a hop
that divides the analysis frame, the same number of spectrum frames lies symmetrically in every
analysis frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK_FRAMES = 256
"""Spectrum frames computed at a time."""

POWER_FLOOR_DB = -100.0
"""Level below which a mel band counts as empty (full-scale sine: about 0 dB)."""


@dataclass(frozen=True, kw_only=True)
class LogMelConfig:
    """The short-time Fourier transform and the mel bands over it.

    Attributes:
        fft_samples: length of the Hann window (samples).
        hop_samples: distance of spectrum frames (samples).
        num_mels: mel bands. Vibrato and vowels, which tell voices from lead instruments, move
            partials by less than a band where bands are wide.
        low_hz: lower edge of the first band (Hz).
        high_hz: upper edge of the last band (Hz): above it, what a lossy encoder left says more
            about the encoder than about the music.
    """

    fft_samples: int
    hop_samples: int
    num_mels: int = 192
    low_hz: float = 30.0
    high_hz: float = 16_000.0

    @classmethod
    def at(cls, sample_rate: int, frame_samples: int, **fields: Any) -> Self:
        """For audio of a sample rate, four hops a frame of the detector.

        The window is as long as the frame, about 93 ms. The bands end at 16 kHz, or where the audio
        does. Fields that are given are as given.

        >>> LogMelConfig.at(16_000, 2048).high_hz
        8000.0
        """
        fitting = {
            "fft_samples": frame_samples,
            "hop_samples": frame_samples // 4,
            "high_hz": min(cls.high_hz, sample_rate / 2),
        }
        return cls(**(fitting | fields))


def mel_filterbank(
    num_mels: int, fft_samples: int, sample_rate: int, low_hz: float, high_hz: float
) -> Tensor:
    """Triangular mel bands ``(M, K)``, each summing to one, on the HTK scale.

    ``mel = 2595 log10(1 + hz / 700)`` (O'Shaughnessy 1987). Where a triangle would fall between
    two bins (low bands of a short FFT), it is widened to one bin on each side, so no band is empty.
    """
    mel_low, mel_high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (low_hz, high_hz))
    mels = torch.linspace(mel_low, mel_high, num_mels + 2, dtype=torch.float64)
    edges_hz = 700.0 * (torch.pow(10.0, mels / 2595.0) - 1.0)
    bin_hz = sample_rate / fft_samples
    bins_hz = torch.arange(fft_samples // 2 + 1, dtype=torch.float64) * bin_hz
    centre = edges_hz[1:-1, None]
    rise_hz = (edges_hz[1:-1] - edges_hz[:-2]).clamp(min=bin_hz)[:, None]
    fall_hz = (edges_hz[2:] - edges_hz[1:-1]).clamp(min=bin_hz)[:, None]
    rising = 1.0 - (centre - bins_hz) / rise_hz
    falling = 1.0 - (bins_hz - centre) / fall_hz
    bands = torch.minimum(rising, falling).clamp(min=0.0)
    return (bands / bands.sum(dim=1, keepdim=True)).float()


class LogMel(nn.Module):
    """Audio ``(B, C, T)`` to log-mel power ``(B, C, M, N)`` of mid and side, about -2.5 to 2.5.

    Mono audio is its own mid, and has no side. ``N = T / hop_samples``; T must be a multiple of the
    hop. In two steps, so that training can change the spectrum between them as a lossy codec would.
    No statistics of the file enter: any stretch of it gives the same values as the whole.
    """

    def __init__(self, config: LogMelConfig, sample_rate: int) -> None:
        super().__init__()
        if config.fft_samples < config.hop_samples or (config.fft_samples - config.hop_samples) % 2:
            raise ValueError(
                f"fft_samples must be hop_samples ({config.hop_samples}) plus an even number, "
                f"not {config.fft_samples}"
            )
        if not 0 <= config.low_hz < config.high_hz <= sample_rate / 2:
            raise ValueError(
                f"mel bands from {config.low_hz} to {config.high_hz} Hz: "
                f"the edges must lie in order between 0 and {sample_rate / 2} Hz"
            )
        self.config = config
        # The half of mid and side and the gain of the window are in it: a sine peaks at 1.
        window = torch.hann_window(config.fft_samples)
        window = window / window.sum()
        bank = mel_filterbank(
            config.num_mels, config.fft_samples, sample_rate, config.low_hz, config.high_hz
        )
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("bank", bank, persistent=False)
        self.window: Tensor
        self.bank: Tensor

    @property
    def margin_samples(self) -> int:
        """Samples that the first and last window reach beyond the audio (zeros are put there)."""
        return (self.config.fft_samples - self.config.hop_samples) // 2

    def spectrum(self, audio: Tensor) -> Tensor:
        """Power spectrum ``(B, C, K, N)`` of mid and side; a full-scale sine peaks at 1."""
        return self._power(self._padded_mid_side(audio))

    def compress(self, spectrum: Tensor) -> Tensor:
        """Mel bands of a power spectrum, in dB, scaled: ``(B, C, K, N)`` to ``(B, C, M, N)``."""
        bands = torch.matmul(self.bank, spectrum)
        floor = 10.0 ** (POWER_FLOOR_DB / 10.0)
        return torch.log10(bands + floor) * 0.5 + 2.5

    def forward(self, audio: Tensor) -> Tensor:
        """Audio ``(B, C, T)`` to log-mel ``(B, C, M, N)``.

        In blocks: spectra of a few seconds stay in the cache of a CPU, where those of a minute
        take three times as long.
        """
        padded = self._padded_mid_side(audio)
        hop, overlap = self.config.hop_samples, 2 * self.margin_samples
        blocks = [
            self.compress(self._power(padded[..., start : start + BLOCK_FRAMES * hop + overlap]))
            for start in range(0, audio.shape[-1], BLOCK_FRAMES * hop)
        ]
        return torch.cat(blocks, dim=-1)

    def _padded_mid_side(self, audio: Tensor) -> Tensor:
        _, channels, samples = audio.shape
        if channels not in (1, 2):
            raise ValueError(f"audio must be mono or stereo; this has {channels} channels")
        if samples % self.config.hop_samples:
            raise ValueError(
                f"{samples} samples are no multiple of the hop, {self.config.hop_samples}"
            )
        left, right = audio[:, 0], audio[:, -1]
        mid_side = torch.stack([left + right, left - right][:channels], dim=1)
        return F.pad(mid_side, (self.margin_samples, self.margin_samples))

    def _power(self, padded: Tensor) -> Tensor:
        bins = torch.stft(
            padded.flatten(0, 1),
            self.config.fft_samples,
            self.config.hop_samples,
            window=self.window,
            center=False,
            return_complex=True,
        )
        power = bins.real.square() + bins.imag.square()
        return power.reshape(*padded.shape[:2], *power.shape[1:])
