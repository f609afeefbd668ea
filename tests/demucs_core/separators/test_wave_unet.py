from __future__ import annotations

import pytest
import torch

from demucs_core.separators.registry import build_model, stored_config
from demucs_core.separators.wave_unet import WaveUNet, WaveUNetConfig, _interpolate
from tests.demucs_core.music import MUSIC

SMALL = {**MUSIC, "architecture": "wave_unet", "channels": 4, "depth": 3}


def small(**fields: object) -> WaveUNet:
    model = build_model({**SMALL, **fields}, seed=0)
    assert isinstance(model, WaveUNet)
    return model


VARIANTS: list[dict[str, object]] = [
    {},
    {"difference_output": False, "upsampling": "learned"},
    {"context": False, "tanh": False},
    {"context": False, "upsampling": "learned"},
]


@pytest.mark.parametrize("fields", VARIANTS)
@pytest.mark.parametrize("num_samples", [1, 2, 3, 8, 100, 1001])
def test_every_length_comes_back(num_samples: int, fields: dict[str, object]) -> None:
    model = small(**fields)
    mixture = torch.randn(2, 2, num_samples, generator=torch.Generator().manual_seed(0))
    estimates = model(mixture)
    assert estimates.shape == (2, 4, 2, num_samples)
    estimates.sum().backward()
    assert all(value.grad is not None for value in model.parameters())


def test_difference_output_adds_up_to_the_mixture() -> None:
    mixture = torch.randn(1, 2, 99, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(small()(mixture).sum(dim=1), mixture)
    assert not torch.allclose(small(difference_output=False)(mixture).sum(dim=1), mixture)


def test_what_is_estimated_stays_within_full_scale_and_the_difference_need_not() -> None:
    loud = 100 * torch.ones(1, 2, 50)
    estimates = small()(loud)
    assert estimates[:, :-1].abs().max() <= 1
    assert estimates[:, -1].abs().max() > 90
    assert small(tanh=False)(loud)[:, :-1].abs().max() > 1


def test_with_context_the_papers_sizes_come_out() -> None:
    paper = WaveUNet(WaveUNetConfig(**MUSIC, channels=1))
    assert paper._output_length(16_384) == 16_389
    assert 16_389 + paper.context_samples == 147_443
    assert small(context=False).valid_length(100) == 100


def test_a_crop_with_its_context_sounds_as_in_the_whole() -> None:
    """At places that decimation treats alike: multiples of eight, of lengths that fit."""
    model = small().double()
    length = model._output_length(700)
    mixture = torch.randn(1, 2, length, generator=torch.Generator().manual_seed(0)).double()
    crop = mixture[..., 64 : 64 + model._output_length(400)]
    margin = (model.valid_length(0) + 1) // 2
    inside = slice(margin, crop.shape[-1] - margin)
    whole = model(mixture)[..., 64 + inside.start : 64 + inside.stop]
    torch.testing.assert_close(model(crop)[..., inside], whole)
    padded = small(context=False, tanh=False).double()
    assert not torch.allclose(padded(crop)[..., :20], padded(mixture)[..., 64:84]), (
        "zeros are heard at the crop's edge"
    )


def test_a_sample_hears_as_far_to_either_side() -> None:
    model = small()
    context = model.context_samples
    mixture = torch.randn(1, 2, 3 * context, generator=torch.Generator().manual_seed(0))
    nudged, centre = mixture.clone(), 3 * context // 2
    nudged[..., centre] += 1
    changed = (model(nudged) - model(mixture)).abs().amax((0, 1, 2)).nonzero()[:, 0]
    first, last = centre - int(changed.min()), int(changed.max()) - centre
    assert context // 4 < first <= model.valid_length(0) // 2
    assert abs(first - last) <= 8


def test_learned_upsampling_begins_as_the_mean_and_weighs_both_sides() -> None:
    mixture = torch.randn(1, 2, 60, generator=torch.Generator().manual_seed(0))
    learned = small(upsampling="learned")
    learned.load_state_dict(
        {**small().state_dict(), **dict(learned.between.named_parameters(prefix="between"))}
    )
    torch.testing.assert_close(learned(mixture), small()(mixture))
    x = torch.tensor([[[1.0, 3.0, 7.0]]])
    assert _interpolate(x, 5, torch.tensor([[1.0]])).tolist() == [[[1, 1, 3, 3, 7]]]


def test_a_model_of_0_1_0_is_what_it_was() -> None:
    """Its description told neither; its layers are padded, and their weights are the same."""
    told = {**SMALL, "down_kernel_size": 15, "up_kernel_size": 5, "difference_output": True}
    config = build_model(stored_config(told)).config
    assert isinstance(config, WaveUNetConfig)
    assert (config.context, config.tanh, config.upsampling) == (False, False, "linear")
    assert stored_config({**told, "context": True, "tanh": True})["context"] is True


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
