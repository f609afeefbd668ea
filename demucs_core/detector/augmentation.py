"""How training examples of the detector differ from the songs that they are cut from.

Shapes: C channels, T samples of a crop, K spectrum bins, N spectrum frames.

A user's music was recorded, mixed, mastered and encoded by others than the labelled songs were:
what can be done to a copy of them here teaches the detector not to depend on it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.detector.fit_config import AugmentationConfig

EQUALISER_TAPS = 512
"""Length of the filter that changes an instrument's sound: 12 ms at 44.1 kHz, of which one tap is
dropped so that it is symmetric."""


def resample(audio: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """Audio ``(C, T)`` played ``speed`` times as fast.

    Linear interpolation: its aliases, 30 dB down and more, are noise to a mel band.
    """
    stretched: NDArray[np.float32] = torch.nn.functional.interpolate(
        torch.from_numpy(audio)[None], size=round(audio.shape[1] / speed), mode="linear"
    )[0].numpy()
    return stretched


def equalise(
    audio: NDArray[np.float32], sample_rate: int, limit_db: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Audio ``(C, T)`` through a filter with a gain of its own in every octave.

    Gains are drawn up to ``limit_db`` up or down, and lie on a line in between. The filter has
    linear phase and no delay.
    """
    from scipy.signal import oaconvolve  # whoever only hears with a detector does not wait for it

    octaves_hz = 62.5 * 2.0 ** np.arange(9)
    gains_db = rng.uniform(-limit_db, limit_db, len(octaves_hz))
    bins_hz = np.fft.rfftfreq(EQUALISER_TAPS, 1.0 / sample_rate)
    response_db = np.interp(np.log2(bins_hz.clip(1.0)), np.log2(octaves_hz), gains_db)
    taps = np.roll(np.fft.irfft(10.0 ** (response_db / 20.0)), EQUALISER_TAPS // 2)[1:]
    taps = (taps * np.hanning(len(taps))).astype(np.float32)
    return np.asarray(oaconvolve(audio, taps[None], mode="same", axes=1), dtype=np.float32)


def disturb_spectrum(
    spectrum: Tensor, sample_rate: int, config: AugmentationConfig, rng: np.random.Generator
) -> Tensor:
    """A power spectrum ``(C, K, N)`` as another copy of the music would have it.

    It is that of mid and side, or of mono, which has no width to change.
    """
    bins = spectrum.shape[1]
    hz = torch.linspace(0.0, sample_rate / 2, bins)
    if len(spectrum) == 2 and rng.random() < config.width_probability:
        side_db = float(rng.uniform(-12.0, 6.0))
        side = 0.0 if rng.random() < 1 / 3 else 10.0 ** (side_db / 10.0)
        spectrum = spectrum * torch.tensor([1.0, side])[:, None, None]
    if rng.random() < config.tone_probability:
        octaves = torch.log2(hz.clamp(min=40.0) / 1000.0)
        tilt, bend, phase = rng.uniform(-1.5, 1.5), rng.uniform(0.0, 4.0), rng.uniform(0, 2 * np.pi)
        gain_db = tilt * octaves + bend * torch.sin(octaves + phase)
        spectrum = spectrum * torch.pow(10.0, gain_db / 10.0)[:, None]
    mean_power = spectrum.mean()
    if rng.random() < config.holes_probability:
        # An encoder drops what its neighbours mask: bins far below the mean of their band.
        whole = bins // 32 * 32
        bands = spectrum[:, :whole].unflatten(1, (-1, 32))
        masked = bands.mean(dim=2, keepdim=True) * 10.0 ** (-rng.uniform(10.0, 25.0) / 10.0)
        kept = torch.where(bands < masked, 0.0, bands).flatten(1, 2)
        spectrum = torch.cat([kept, spectrum[:, whole:]], dim=1)
    if rng.random() < config.noise_probability:
        noise = float(mean_power) * 10.0 ** (-rng.uniform(20.0, 50.0) / 10.0)
        spectrum = spectrum + noise
    if rng.random() < config.lowpass_probability:
        spectrum = spectrum * (hz < float(rng.uniform(10_000.0, 16_000.0)))[:, None]
    return spectrum


def filter_audio(audio: Tensor, change: Callable[[Tensor], Tensor], fft_samples: int) -> Tensor:
    """Audio ``(C, T)`` with its power spectrum changed, mid and side apart, and its phases kept."""
    window = torch.hann_window(fft_samples)
    mid_side = audio
    if len(audio) == 2:
        mid_side = torch.stack([audio[0] + audio[1], audio[0] - audio[1]]) / 2.0
    hop = fft_samples // 2
    bins = torch.stft(mid_side, fft_samples, hop, window=window, return_complex=True)
    spectrum = (bins.abs() / window.sum()).square()
    gain = (change(spectrum) / spectrum.clamp(min=1e-12)).sqrt()
    changed = torch.istft(bins * gain, fft_samples, hop, window=window, length=audio.shape[1])
    if len(audio) == 1:
        return changed
    mid, side = changed
    return torch.stack([mid + side, mid - side])
