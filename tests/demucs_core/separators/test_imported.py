"""A class that somebody wrote elsewhere is a separator, and none is imported unasked."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from typing import Any

import pytest
import torch

from demucs_core.separators.imported import (
    ImportedConfig,
    NotAllowedError,
    check_contract,
    version_of,
)
from demucs_core.separators.registry import SEPARATORS, build_model, config_of
from demucs_core.separators.separator import SeparationModel
from tests.demucs_core.music import MUSIC

HERE = "tests.demucs_core.separators.strangers"
MIXING = f"{HERE}:Mixing"


@pytest.fixture(autouse=True)
def _no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else may have installed a package called tests."""
    monkeypatch.setattr(importlib.metadata, "packages_distributions", dict)


def made(path: str, **arguments: Any) -> SeparationModel:
    description = {
        **MUSIC, "architecture": path, "version": version_of(path), "arguments": arguments,
    }  # fmt: skip
    return build_model(description, seed=0, allow_import=[path])


def test_a_class_is_named_by_module_version_and_arguments() -> None:
    model = made(MIXING, taps=5)
    described = json.loads(json.dumps(config_of(model)))
    assert described == {
        "architecture": MIXING, "version": version_of(MIXING), "arguments": {"taps": 5},
        **MUSIC, "sources": list(MUSIC["sources"]),
    }  # fmt: skip
    again = build_model(described, allow_import=[MIXING])
    again.load_state_dict(model.state_dict())
    mixture = torch.randn(2, 2, 40)
    assert torch.equal(again(mixture), model(mixture))
    assert isinstance(again.config, ImportedConfig)
    assert SEPARATORS.of(again.config).name == MIXING


def test_a_class_is_told_what_it_asks_for_and_no_more() -> None:
    model = made(f"{HERE}:ForFour", stems=4)
    check_contract(model, 50)
    assert model.longest_segment() == 123
    assert model.valid_length(7) == 8
    assert made(MIXING).longest_segment() is None


def test_nothing_is_imported_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    description = {**MUSIC, "architecture": "antigravity:Fly", "version": "1", "arguments": {}}
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    with pytest.raises(NotAllowedError, match="say so: --allow-import antigravity:Fly"):
        build_model(description, allow_import=[MIXING])
    assert "antigravity" not in sys.modules


def test_the_version_is_the_package_s_or_else_a_hash_of_its_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert version_of(MIXING).startswith("source-")
    monkeypatch.setattr(sys.modules["tests"], "__version__", "1.2", raising=False)
    assert version_of(MIXING) == "1.2"
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"tests": ["pytest"]})
    assert version_of(MIXING) == importlib.metadata.version("pytest")


def test_another_version_than_a_model_was_made_with_is_told() -> None:
    described = {**config_of(made(MIXING)), "version": "0.9"}
    with pytest.warns(UserWarning, match=f"a model of {MIXING} 0.9 is built of version source-"):
        build_model(described, allow_import=[MIXING])


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("tests.nowhere:Mixing", {}, "can't be imported .* name its folder in PYTHONPATH"),
        (f"{HERE}:Nothing", {}, f"{HERE} has no class Nothing"),
        (f"{HERE}:NOTHING", {}, "is no class of torch modules"),
        ("os:system", {"command": "false"}, "os:system is no class of torch modules"),
        (MIXING, {"tabs": 3}, r"can't be made of \{'tabs': 3\}: TypeError: .*'tabs'"),
    ],
)
def test_what_is_no_class_of_modules_is_refused(
    path: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        made(path, **arguments)


def test_a_model_that_is_tried_is_left_as_it_was() -> None:
    model, drawn = made(f"{HERE}:Remembering").eval(), torch.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_contract(model, 50)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not model.training


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("ForFour", {"stems": 3}, r"returns another shape .* \(2, 3, 2, 50\), not \(2, 4, 2, 50\)"),
        ("Listing", {}, r"returns a list in separation, not a tensor of shape \(2, 4, 2, 50\)"),
        ("Failing", {}, r"on mixtures of shape \(2, 2, 50\): .*the crop of 50 is too short"),
        ("Forgetful", {}, r"another shape in training .* \(2, 4, 2, 49\), not \(2, 4, 2, 50\)"),
        ("Whole", {}, r"returns torch\.int32 in separation, not real numbers \(float32\)"),
        ("Endless", {}, "returns NaN or infinity in separation, of noise that is finite"),
        ("Detached", {}, "returns what no weight has a part in"),
        ("Doubling", {}, "fails in training, on the way back: RuntimeError"),
        ("Weightless", {}, "has no weights to train"),
    ],
)
def test_a_class_that_breaks_the_contract_is_refused(
    model: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_contract(made(f"{HERE}:{model}", **arguments), 50)
