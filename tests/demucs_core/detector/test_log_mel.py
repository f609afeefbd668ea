from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from demucs_core.detector.log_mel import LogMel, LogMelConfig, mel_filterbank

RATE = 44_100


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel(LogMelConfig.at(RATE, 4096), RATE)


def sine(hz: float) -> Tensor:
    return torch.sin(2 * torch.pi * hz * torch.arange(8192) / RATE)


@pytest.mark.parametrize("bands", [16, 64, 128])
def test_every_band_sums_to_one_and_bands_rise(bands: int) -> None:
    bank = mel_filterbank(bands, 2048, RATE, 30.0, 16_000.0)
    assert bank.shape == (bands, 1025)
    assert bank.sum(dim=1).numpy() == pytest.approx(np.ones(bands), abs=1e-5)
    centres = bank @ torch.arange(1025.0)
    assert (centres.diff() > 0).all()


def test_a_full_scale_sine_peaks_at_one(log_mel: LogMel) -> None:
    hz = 200 * RATE / log_mel.config.fft_samples
    spectrum = log_mel.spectrum(sine(hz).expand(1, 2, -1))
    assert spectrum[0, 0, :, 3].max() == pytest.approx(1.0, rel=1e-3)
    assert spectrum[0, 0, :, 3].argmax() == 200


def test_what_is_equal_in_both_channels_is_mid_and_what_is_opposite_is_side(
    log_mel: LogMel,
) -> None:
    tone = sine(440.0)
    equal = log_mel(torch.stack([tone, tone])[None])
    opposite = log_mel(torch.stack([tone, -tone])[None])
    assert torch.allclose(equal[:, 0], opposite[:, 1], atol=1e-4)
    assert (equal[:, 1] == equal[:, 1].min()).all()


def test_mono_is_heard_as_the_mid_of_equal_channels(log_mel: LogMel) -> None:
    tone = sine(440.0)
    stereo = log_mel(torch.stack([tone, tone])[None])
    mono = log_mel(tone[None, None])
    assert mono.shape == (1, 1, *stereo.shape[2:])
    assert torch.equal(mono[:, 0], stereo[:, 0])


@pytest.mark.parametrize(("rate", "frame"), [(16_000, 2048), (48_000, 4096), (96_000, 8192)])
def test_a_tone_is_as_loud_at_any_rate(rate: int, frame: int) -> None:
    def loudest(rate: int, frame: int) -> float:
        tone = torch.sin(2 * torch.pi * 440.0 * torch.arange(4 * frame) / rate)
        return float(LogMel(LogMelConfig.at(rate, frame), rate)(tone[None, None])[0, 0, :, 8].max())

    assert loudest(rate, frame) == pytest.approx(loudest(RATE, 4096), abs=0.2)


def test_frames_are_centred_on_their_hop(log_mel: LogMel) -> None:
    audio = torch.zeros(1, 2, 8192)
    audio[..., 3 * 1024 + 512] = 1.0
    energy = log_mel.spectrum(audio).sum(dim=(0, 1, 2))
    assert energy.argmax() == 3
    assert energy[2] == pytest.approx(float(energy[4]), rel=1e-3)


def test_blocks_of_the_fast_path_join_without_a_seam(log_mel: LogMel) -> None:
    audio = torch.randn(1, 2, 600 * 1024, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(log_mel(audio), log_mel.compress(log_mel.spectrum(audio)), atol=1e-5)


def test_wrong_shapes_are_refused(log_mel: LogMel) -> None:
    with pytest.raises(ValueError, match="3 channels"):
        log_mel(torch.zeros(1, 3, 1024))
    with pytest.raises(ValueError, match="multiple"):
        log_mel(torch.zeros(1, 2, 1000))
    with pytest.raises(ValueError, match="mel bands"):
        LogMel(LogMelConfig.at(RATE, 4096, high_hz=30_000.0), RATE)
