"""What exists is a beginning: by name, by shape, and source by source."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from demucs_core.separators.demucs import to_official_state
from demucs_core.separators.registry import SEPARATORS, build_model
from demucs_core.separators.separator import SeparationModel
from demucs_core.separators.transfer import freeze, take_weights
from tests.demucs_core.separators.small import SMALL

FOUR = ("drums", "bass", "other", "vocals")
SIX = ("piano", "vocals", "drums", "guitar", "bass", "other")


def small(architecture: str, sources: tuple[str, ...], seed: int, **told: Any) -> SeparationModel:
    music = {"sources": sources, "sample_rate": 8000, "num_channels": 2}
    return build_model(
        {"architecture": architecture, **music, **SMALL[architecture], **told}, seed=seed
    ).eval()


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_a_model_of_four_sources_starts_one_of_six(architecture: str) -> None:
    """A source that both have sounds the same at once, whatever its place."""
    apart: dict[str, dict[str, Any]] = {
        "wave_unet": {"difference_output": False},
        "open_unmix": {"niter": 0},
    }
    told = apart.get(architecture, {})
    four, six = small(architecture, FOUR, 0, **told), small(architecture, SIX, 1, **told)
    mixture = torch.randn(1, 2, 500, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        new = six(mixture)
        transfer = take_weights(six, four.state_dict(), FOUR)
        estimates, expected = six(mixture), four(mixture)
    for source in FOUR:
        torch.testing.assert_close(estimates[:, SIX.index(source)], expected[:, FOUR.index(source)])
    assert not torch.allclose(estimates[:, 0], expected[:, 0])
    assert not torch.allclose(new[:, 1], estimates[:, 1])
    assert transfer.taken
    assert not transfer.left
    # what is new has weights of its own, in layers of its own or parts of shared ones
    assert bool(transfer.in_part) != bool(transfer.fresh)


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_all_is_taken_of_the_same_model(architecture: str) -> None:
    model, other = small(architecture, FOUR, 0), small(architecture, FOUR, 1)
    transfer = take_weights(other, model.state_dict(), FOUR)
    assert not transfer.fresh + transfer.in_part + transfer.left
    for name, value in other.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_the_same_number_of_other_sources_is_no_match() -> None:
    model, other = small("demucs", FOUR, 0), small("demucs", ("a", "b", "c", "vocals"), 1)
    before = other.state_dict()["decoder.1.2.bias"].clone()
    transfer = take_weights(other, model.state_dict(), FOUR)
    assert set(transfer.in_part) == {"decoder.1.2.weight", "decoder.1.2.bias"}
    after = other.state_dict()["decoder.1.2.bias"]
    assert torch.equal(after[:6], before[:6])
    assert torch.equal(after[6:], model.state_dict()["decoder.1.2.bias"][6:])


def test_the_difference_has_no_weights() -> None:
    """Of four the last one is the difference; of five the fourth is estimated, and is new."""
    four, five = small("wave_unet", FOUR, 0), small("wave_unet", (*FOUR, "guitar"), 1)
    transfer = take_weights(five, four.state_dict(), FOUR)
    assert set(transfer.in_part) == {"output.weight", "output.bias"}
    mixture = torch.randn(1, 2, 300, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(five(mixture)[:, :3], four(mixture)[:, :3])


@pytest.mark.parametrize("wrapper", ["", "module.", "model."])
def test_the_names_of_authors_and_trainers_are_understood(wrapper: str) -> None:
    demucs, ours = small("demucs", FOUR, 0), small("demucs", FOUR, 1)
    theirs = {
        f"{wrapper}{name}": value for name, value in to_official_state(demucs.state_dict()).items()
    }
    assert take_weights(ours, theirs, FOUR).left == ()
    assert torch.equal(
        ours.state_dict()["encoder.1.2.bias"], demucs.state_dict()["encoder.1.2.bias"]
    )
    htdemucs, mine = small("htdemucs", FOUR, 0), small("htdemucs", FOUR, 1)
    names = {
        f"{wrapper}{name}": value
        for name, value in htdemucs.get_submodule("net").state_dict().items()
    }
    transfer = take_weights(mine, names, None)
    assert not transfer.fresh + transfer.left


def test_another_size_is_taken_where_it_fits_and_the_rest_is_named() -> None:
    model, deeper = small("demucs", FOUR, 0), small("demucs", FOUR, 1, depth=3)
    transfer = take_weights(deeper, model.state_dict(), FOUR)
    assert "encoder.1.0.weight" in transfer.taken
    assert "encoder.2.0.weight" in transfer.fresh
    assert "lstm.linear.weight" in transfer.fresh
    assert "lstm.linear.weight" in transfer.left
    assert "begin afresh (encoder.2.0, encoder.2.2, decoder." in str(transfer)


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no weight fits: there are a\.b, the model has encoder"):
        take_weights(small("demucs", FOUR, 0), {"a.b": torch.zeros(3)}, None)
    before = {name: value.clone() for name, value in small("demucs", FOUR, 0).state_dict().items()}
    model = small("demucs", FOUR, 0)
    with pytest.raises(ValueError, match="no weight fits"):
        take_weights(model, small("wave_unet", FOUR, 0).state_dict(), FOUR)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_frozen_weights_do_not_move_and_neither_do_statistics() -> None:
    model = small("open_unmix", FOUR, 0)
    frozen = freeze(model, ["net.target_models.drums.*", "*fc1.weight"])
    assert "net.target_models.bass.fc1.weight" in frozen
    assert "net.target_models.bass.fc2.weight" not in frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model.train()(torch.randn(2, 2, 500)).abs().mean().backward()
    optimizer.step()
    after = model.state_dict()
    for name in before:
        still = name in frozen or name.startswith("net.target_models.drums.")
        if still and "num_batches" not in name:
            assert torch.equal(after[name], before[name]), name
    assert not torch.equal(
        after["net.target_models.bass.bn1.running_mean"],
        before["net.target_models.bass.bn1.running_mean"],
    )


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["encodr.*"], r"pattern 'encodr\.\*' matches no weight of the model; it has encoder\.0"),
        (["*"], r"patterns \* leave no weight to train"),
    ],
)
def test_patterns_that_freeze_nothing_or_all_are_refused(patterns: list[str], message: str) -> None:
    model = small("demucs", FOUR, 0)
    with pytest.raises(ValueError, match=message):
        freeze(model, patterns)
    assert all(parameter.requires_grad for parameter in model.parameters())
