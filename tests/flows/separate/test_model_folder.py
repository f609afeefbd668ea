"""A model is the same when it comes back from its folder, whatever it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from demucs_core.separators.registry import SEPARATORS, build_model, config_of
from flows.inputs import networks
from flows.separate.model_folder import load_folder, open_model
from storage.errors import UserError
from storage.workspace import Workspace
from tests.demucs_core.music import MUSIC
from tests.demucs_core.separators.small import SMALL


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True)


def stored(workspace: Workspace, architecture: str) -> torch.nn.Module:
    model = build_model({**MUSIC, "architecture": architecture, **SMALL[architecture]}, seed=0)
    networks.store(workspace, "models", architecture, model, {"model": config_of(model)})
    return model.eval()


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_every_separator_comes_back_from_a_folder(architecture: str, workspace: Workspace) -> None:
    model = stored(workspace, architecture)
    mixture = torch.randn(1, 2, 700, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(mixture)
        for again in (
            load_folder(Path(workspace.root) / "models" / architecture),
            networks.load_model(workspace, architecture, "cpu"),
        ):
            torch.testing.assert_close(again(mixture), expected, atol=0, rtol=0)


def test_a_model_that_is_nowhere_to_be_found(tmp_path: Path, workspace: Workspace) -> None:
    for name, told in (
        ("", "model: no model is named; name one"),
        ("x", "model: there is no folder 'x'; name one"),
    ):
        with pytest.raises(UserError, match=told):
            open_model(name, str(tmp_path / "none"), "cpu")
    with pytest.raises(UserError, match="no model yet"):
        open_model("", workspace.location, "cpu")


def test_sizes_that_no_tensor_has_are_refused(workspace: Workspace) -> None:
    stored(workspace, "demucs")
    description = workspace.read_json("models/demucs/config.json")
    description["model"]["channels"] = 2**30
    workspace.put_json("models/demucs/config.json", description)
    with pytest.raises(UserError, match=r"config\.json: describes no model of ours"):
        load_folder(Path(workspace.root) / "models" / "demucs")
    with pytest.raises(UserError, match="model 'demucs' is of a schema that this silentmix"):
        networks.load_model(workspace, "demucs", "cpu")


def test_a_folder_whose_package_is_missing_says_which(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(workspace, "open_unmix")
    monkeypatch.setitem(sys.modules, "openunmix.model", None)
    with pytest.raises(UserError, match=r"pip install 'silentmix\[openunmix\]'"):
        load_folder(Path(workspace.root) / "models" / "open_unmix")


@pytest.mark.parametrize("told", [5, "demucs", ["demucs"], {}, {"architecture": "unheard"}])
def test_a_description_that_describes_nothing(workspace: Workspace, told: object) -> None:
    """Found by ``benchmarks.fuzz``: a text where a model's configuration is, was a traceback."""
    workspace.put_json("models/a/config.json", {"model": told})
    workspace.put_json("detectors/a/config.json", {"detector": told})
    workspace.put_bytes("models/a/weights.safetensors", b"")
    with pytest.raises(UserError, match=r"config\.json: describes no model of ours"):
        load_folder(Path(workspace.root) / "models" / "a")
    with pytest.raises(UserError, match="model 'a' is of a schema that this silentmix"):
        networks.load_model(workspace, "a", "cpu")
    with pytest.raises(UserError, match="detector 'a' is of a schema that this silentmix"):
        networks.require_own_detector(workspace, "a")
