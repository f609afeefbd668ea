from __future__ import annotations

import pytest
import torch
from demucs.demucs import Demucs as OfficialDemucs
from demucs.demucs import rescale_module

from demucs_core.separators.demucs import Demucs, DemucsConfig, from_official_state, rescale_weights
from demucs_core.separators.registry import build_model
from tests.demucs_core.music import MUSIC

SMALL = {**MUSIC, "architecture": "demucs", "channels": 4, "depth": 3}


def small(**fields: object) -> Demucs:
    model = build_model({**SMALL, **fields}, seed=0)
    assert isinstance(model, Demucs)
    return model


def official(config: DemucsConfig) -> OfficialDemucs:
    # The official class counts context on each side of the centre; 1 is the paper's kernel of 3.
    model: OfficialDemucs = OfficialDemucs(
        sources=list(config.sources),
        audio_channels=config.num_channels,
        channels=config.channels,
        depth=config.depth,
        growth=config.growth,
        kernel_size=config.kernel_size,
        stride=config.stride,
        context=config.context // 2,
        lstm_layers=config.lstm_layers,
        rescale=config.rescale,
        dconv_mode=0,
        norm_starts=99,
        normalize=False,
        resample=False,
        gelu=False,
    )
    return model


@pytest.mark.parametrize("context", [3, 7])
@pytest.mark.parametrize("num_samples", [1, 1000, 4096])
def test_outputs_and_gradients_equal_the_official_implementation(
    context: int, num_samples: int
) -> None:
    ours = small(context=context)
    theirs = official(ours.config)
    ours.load_state_dict(from_official_state(theirs.state_dict()))
    generator = torch.Generator().manual_seed(1)
    mixture = torch.randn(2, 2, num_samples, generator=generator)
    direction = torch.randn(2, 4, 2, num_samples, generator=generator)

    estimates, expected = ours(mixture), theirs(mixture)
    torch.testing.assert_close(estimates, expected, rtol=1e-5, atol=1e-7)

    (estimates * direction).sum().backward()
    (expected * direction).sum().backward()
    gradients = {name: value.grad for name, value in ours.named_parameters()}
    for name, value in theirs.named_parameters():
        [renamed] = from_official_state({name: value})
        assert value.grad is not None
        scale = float(value.grad.abs().max())
        torch.testing.assert_close(gradients[renamed], value.grad, rtol=1e-4, atol=1e-5 * scale)


def test_weights_of_the_second_version_are_taken_on_request_alone() -> None:
    theirs = small().state_dict()  # called as that version called them
    with pytest.raises(ValueError, match=r"version 2 of the official demucs"):
        from_official_state(theirs)
    assert from_official_state(theirs, of_version_2=True).keys() == theirs.keys()


def test_fresh_weights_equal_the_official_ones() -> None:
    ours = small()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        theirs = from_official_state(official(ours.config).state_dict())
    weights = ours.state_dict()
    assert weights.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(weights[name], value), name


def test_rescaled_weights_have_the_geometric_mean_deviation() -> None:
    raw, rescaled = small(rescale=0.0), small(rescale=0.1)
    for before, after in zip(raw.encoder, rescaled.encoder, strict=True):
        expected = (before.get_parameter("0.weight").std() * 0.1) ** 0.5
        torch.testing.assert_close(after.get_parameter("0.weight").std(), expected)
        assert not torch.equal(before.get_parameter("0.bias"), after.get_parameter("0.bias"))
    # The official function, on the same weights, for every layer of ours.
    rescale_module(raw, 0.1)
    for name, value in raw.state_dict().items():
        assert torch.equal(value, rescaled.state_dict()[name]), name


def test_a_single_weight_has_no_deviation_and_stays() -> None:
    layer = torch.nn.Conv1d(1, 1, 1)
    before = layer.weight.clone()
    rescale_weights(layer, 0.1)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("num_samples", [1, 7, 8, 100, 1000, 1001])
def test_every_length_comes_back(num_samples: int) -> None:
    model = small()
    estimates = model(torch.zeros(2, 2, num_samples))
    assert estimates.shape == (2, 4, 2, num_samples)


def test_valid_length_leaves_no_sample_over() -> None:
    model = small()
    for num_samples in range(1, 600):
        valid = model.valid_length(num_samples)
        assert valid >= num_samples
        assert model.valid_length(valid) == valid
        length = valid
        for _ in range(model.config.depth):
            assert (length - model.config.kernel_size) % model.config.stride == 0
            length = (length - model.config.kernel_size) // model.config.stride + 1


def test_the_default_is_the_papers_size() -> None:
    config = DemucsConfig(**MUSIC, rescale=0)
    with torch.device("meta"):
        models = [Demucs(config), official(config)]
    counts = [sum(value.numel() for value in model.parameters()) for model in models]
    assert counts == [265_679_496] * 2


def test_without_lstm() -> None:
    model = small(lstm_layers=0)
    assert model.lstm is None
    assert model(torch.zeros(1, 2, 64)).shape == (1, 4, 2, 64)


def test_weights_of_later_architectures_are_refused() -> None:
    later = OfficialDemucs(sources=["a"], channels=4, depth=2, gelu=False)
    with pytest.raises(ValueError, match="later Demucs"):
        from_official_state(later.state_dict())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 0}, "depth must be at least 1, not 0"),
        ({"sources": ("a", "a")}, "sources must be distinct"),
        ({"context": 2}, "context must be odd"),
        ({"kernel_size": 2}, "kernel_size must be at least stride"),
        ({"growth": 0.5}, "growth"),
        ({"lstm_layers": -1}, "lstm_layers"),
        ({"rescale": -1.0}, "rescale"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DemucsConfig(**{**MUSIC, **fields})
