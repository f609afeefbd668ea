from __future__ import annotations

import pytest
import torch

from demucs_core.separators.registry import build_model
from demucs_core.separators.wave_unet import WaveUNet, WaveUNetConfig, _interpolate
from tests.demucs_core.music import MUSIC

SMALL = {**MUSIC, "architecture": "wave_unet", "channels": 4, "depth": 3}


def small(**fields: object) -> WaveUNet:
    model = build_model({**SMALL, **fields}, seed=0)
    assert isinstance(model, WaveUNet)
    return model


@pytest.mark.parametrize("difference_output", [False, True])
@pytest.mark.parametrize("num_samples", [1, 2, 3, 8, 100, 1001])
def test_every_length_comes_back(num_samples: int, difference_output: bool) -> None:
    model = small(difference_output=difference_output)
    mixture = torch.randn(2, 2, num_samples, generator=torch.Generator().manual_seed(0))
    estimates = model(mixture)
    assert estimates.shape == (2, 4, 2, num_samples)
    estimates.sum().backward()
    assert all(value.grad is not None for value in model.parameters())


def test_difference_output_adds_up_to_the_mixture() -> None:
    mixture = torch.randn(1, 2, 99, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(small()(mixture).sum(dim=1), mixture)
    assert not torch.allclose(small(difference_output=False)(mixture).sum(dim=1), mixture)


def test_interpolation_keeps_the_old_steps() -> None:
    x = torch.tensor([[[1.0, 3.0, 7.0]]])
    assert _interpolate(x, 6).tolist() == [[[1, 2, 3, 5, 7, 7]]]
    assert _interpolate(x, 5).tolist() == [[[1, 2, 3, 5, 7]]]


def test_widths_are_the_papers() -> None:
    with torch.device("meta"):
        model = WaveUNet(WaveUNetConfig(**MUSIC))
    assert [layer.out_channels for layer in model.down] == [24 * n for n in range(1, 13)]
    assert model.bottom.out_channels == 24 * 13
    assert [layer.in_channels for layer in model.up][:2] == [24 * 25, 24 * 23]
    assert [layer.out_channels for layer in model.up] == [24 * n for n in range(12, 0, -1)]
    assert model.output.in_channels == 24 + 2
    assert model.output.out_channels == 3 * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 0}, "channels must be at least 1"),
        ({"up_kernel_size": 4}, "up_kernel_size must be odd"),
        ({"sources": ("a",)}, "difference_output needs at least two"),
        ({"sources": ()}, "sources must be distinct"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WaveUNetConfig(**{**MUSIC, **fields})
