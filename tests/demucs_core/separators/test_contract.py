"""Every registered separator keeps one contract, so that nothing else knows which it is."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from demucs_core.separators.extras import MissingExtraError
from demucs_core.separators.htdemucs import HTDemucsSeparator
from demucs_core.separators.open_unmix import OpenUnmixSeparator
from demucs_core.separators.registry import SEPARATORS, build_model
from demucs_core.separators.separation import separate
from demucs_core.separators.separator import SeparationModel
from demucs_core.training.weak_loss import grouped_l1
from tests.demucs_core.separators.small import SMALL

RATE = 8000


def small(architecture: str, num_sources: int = 3, **told: Any) -> SeparationModel:
    music = {
        "sources": [f"source {index}" for index in range(num_sources)],
        "sample_rate": RATE,
        "num_channels": 2,
    }
    return build_model(
        {"architecture": architecture, **music, **SMALL[architecture], **told}, seed=0
    )


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_mixtures_of_any_length_become_one_estimate_a_source(architecture: str) -> None:
    model = small(architecture)
    for training in (True, False):
        model.train(training)
        for num_samples in (1, 300, 1001):
            with torch.no_grad():
                estimates = model(noise(2, 2, num_samples))
            assert estimates.shape == (2, 3, 2, num_samples)
            assert estimates.isfinite().all()


@pytest.mark.parametrize("architecture", SEPARATORS)
@pytest.mark.parametrize(("num_sources", "num_channels"), [(2, 1), (16, 2)])
def test_any_sources_and_channels(architecture: str, num_sources: int, num_channels: int) -> None:
    model = small(architecture, num_sources, num_channels=num_channels)
    with torch.no_grad():
        assert model(noise(1, num_channels, 500)).shape == (1, num_sources, num_channels, 500)


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_the_weak_loss_reaches_every_weight(architecture: str) -> None:
    """Two groups, as where one stem is known and the rest is a sum."""
    model = small(architecture).train()
    membership = torch.tensor([[[1.0, 0, 0], [0, 1, 1]]]).expand(2, 2, 3)
    estimates = model(noise(2, 2, 600))
    loss = grouped_l1(
        estimates, noise(2, 2, 2, 600), membership, torch.ones(2, 1, 600), torch.ones(2)
    )
    torch.autograd.backward(loss)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_separation_in_pieces_gives_the_whole_length(architecture: str) -> None:
    model = small(architecture)
    stems = separate(model, noise(2, 1500), segment_samples=700, max_shift_samples=0)
    assert stems.shape == (3, 2, 1500)
    assert model.training


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_the_examples_of_a_batch_are_apart_in_separation(architecture: str) -> None:
    model, mixtures = small(architecture).eval(), noise(2, 2, 400)
    with torch.no_grad():
        torch.testing.assert_close(model(mixtures)[1:], model(mixtures[1:]), atol=1e-5, rtol=0)


def test_htdemucs_hears_pieces_of_the_length_it_is_trained_on() -> None:
    model = small("htdemucs", segment_s=0.05)
    heard: list[int] = []
    model.register_forward_pre_hook(lambda _, given: heard.append(given[0].shape[-1]))
    separate(model, noise(2, 900), segment_samples=700, overlap=0, max_shift_samples=0)
    assert set(heard) == {400}


def test_htdemucs_separates_as_its_authors_do() -> None:
    """Their ``apply_model`` on their class, which pads the last piece to the length of training."""
    apply_model = pytest.importorskip("demucs.apply").apply_model
    model = small("htdemucs", segment_s=0.05).eval()
    assert isinstance(model, HTDemucsSeparator)
    theirs = model.net
    mixture = noise(2, 1500)
    ours = separate(model, mixture, segment_samples=10_000, max_shift_samples=0)
    theirs.use_train_segment = True
    expected = apply_model(theirs, mixture[None], shifts=0, overlap=0.25)[0]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_open_unmix_computes_the_sources_that_are_wanted_alone() -> None:
    """Without what all sources have a part in; no other separator knows its sources apart."""
    mixture = noise(1, 2, 2000)
    whole = small("open_unmix", 4, niter=0).eval()
    alone = whole.alone(["source 3", "source 1"])
    assert isinstance(whole, OpenUnmixSeparator)
    assert isinstance(alone, OpenUnmixSeparator)
    assert alone.config.sources == ("source 1", "source 3")
    calls: list[str] = []
    for name, network in whole.net.target_models.items():
        network.register_forward_hook(lambda *_, name=name: calls.append(name))
    with torch.inference_mode():
        some = alone(mixture)
        assert calls == ["source 1", "source 3"]
        assert torch.equal(some, whole(mixture)[:, [1, 3]])
    for name in SMALL:
        assert small(name).alone(["source 1"]) is None, "open_unmix filters by default"


def test_open_unmix_filters_in_separation_alone() -> None:
    """Filtered estimates add up to the mixture nearly; the networks' own are anything."""
    model = small("open_unmix")
    mixture = noise(1, 2, 2000)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.momentum = 1.0
    with torch.no_grad():
        trained = model.train()(mixture)
        filtered = model.eval()(mixture)
        error = (filtered.sum(1) - mixture).abs().mean()
        assert error < 0.5 * (trained.sum(1) - mixture).abs().mean()
        assert small("open_unmix", 1).eval()(mixture).shape == (1, 1, 2, 2000)


@pytest.mark.parametrize(
    ("architecture", "module", "extra"),
    [
        ("open_unmix", "openunmix.model", "openunmix"),
        ("htdemucs", "demucs.htdemucs", "htdemucs"),
        ("bs_roformer", "bs_roformer", "bs-roformer"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_brings_it(
    architecture: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SEPARATORS[architecture].extra == extra
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'silentmix\[{extra}\]'") as refused:
        small(architecture)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("architecture", "told", "message"),
    [
        ("open_unmix", {"num_channels": 3}, "mono or stereo, not 3 channels"),
        ("bs_roformer", {"num_channels": 3}, "mono or stereo, not 3 channels"),
        ("open_unmix", {"sources": ["a", "values"]}, "can't have a source called 'values'"),
        ("open_unmix", {"n_hop": 40}, "n_hop must be at most 32, not 40"),
        ("bs_roformer", {"freqs_per_bands": [3, 10]}, r"add up to stft_n_fft / 2 \+ 1 = 33, not"),
        ("htdemucs", {"channels": 9}, r"channels must be a multiple of dconv_comp \(8\), not 9"),
        ("htdemucs", {"t_heads": 3}, "bottom_channels: the transformer's width, here 16, must"),
        ("htdemucs", {"t_dropout": 5.0}, "t_dropout must be from 0 to 1, not 5.0"),
        ("bs_roformer", {"attn_dropout": 7.0}, "attn_dropout must be from 0 to 1, not 7.0"),
        ("htdemucs", {"nfft": 32}, "nfft must be a power of two of at least 64 for depth 2"),
    ],
)
def test_what_an_author_s_code_can_not_do_is_refused_by_name(
    architecture: str, told: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small(architecture, **told)
