from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.detector.augmentation import disturb_spectrum, equalise, resample
from demucs_core.detector.fit_config import AugmentationConfig

PLAIN = AugmentationConfig(
    **{
        name: 0.0
        for name in vars(AugmentationConfig())
        if name.endswith("_probability") or name in ("gain_db", "quieter_db")
    }
)


def test_probabilities_and_ranges_are_checked_by_name() -> None:
    with pytest.raises(ValueError, match="drop_probability"):
        AugmentationConfig(drop_probability=1.5)
    with pytest.raises(ValueError, match="max_speed"):
        AugmentationConfig(max_speed=0.5)
    with pytest.raises(ValueError, match="equalise_db"):
        AugmentationConfig(equalise_db=-1)


def response_db(limit_db: float, seed: int) -> tuple[NDArray[np.float64], int]:
    """Gain of the equaliser at every bin of a second, in dB, and where its impulse comes out."""
    impulse = np.zeros((1, 44_100), np.float32)
    impulse[0, 22_050] = 1.0
    out = equalise(impulse, 44_100, limit_db, np.random.default_rng(seed))
    return 20 * np.log10(np.abs(np.fft.rfft(out[0]))), int(np.abs(out[0]).argmax())


def test_an_equaliser_without_gains_changes_nothing() -> None:
    gain_db, place = response_db(0.0, 0)
    assert place == 22_050
    assert gain_db == pytest.approx(0.0, abs=1e-3)


def test_an_equaliser_keeps_to_its_gains_and_in_time() -> None:
    for seed in range(10):
        gain_db, place = response_db(6.0, seed)
        assert place == 22_050
        assert np.abs(gain_db).max() <= 6.01
        assert np.ptp(gain_db) > 3.0


def test_a_stem_played_faster_is_shorter_and_higher() -> None:
    time = np.arange(44_100) / 44_100
    hum = np.sin(2 * np.pi * 441 * time)[None].astype(np.float32)
    fast = resample(hum, 1.25)
    assert fast.shape == (1, 35_280)
    assert np.abs(np.fft.rfft(fast[0])).argmax() == 441


def spectrum() -> Tensor:
    return torch.rand(2, 1025, 12, generator=torch.Generator().manual_seed(0)) + 0.01


def disturb(name: str, seed: int = 0) -> Tensor:
    config = AugmentationConfig(**vars(PLAIN) | {name: 1.0})
    return disturb_spectrum(spectrum(), 44_100, config, np.random.default_rng(seed))


def test_a_lowpass_leaves_nothing_above_16_khz_and_everything_below_10() -> None:
    cut = disturb("lowpass_probability")
    assert (cut[:, int(16_000 / 44_100 * 2048) + 1 :] == 0).all()
    below = int(10_000 / 44_100 * 2048)
    assert torch.equal(cut[:, :below], spectrum()[:, :below])


def test_holes_empty_weak_bins_and_leave_the_others() -> None:
    cut = disturb("holes_probability")
    kept = cut > 0
    assert torch.equal(cut[kept], spectrum()[kept])
    assert 0 < (~kept).float().mean() < 0.2
    assert spectrum()[~kept].max() < spectrum()[kept].max() / 5


def test_width_leaves_mid_alone() -> None:
    for seed in range(8):
        assert torch.equal(disturb("width_probability", seed)[0], spectrum()[0])
