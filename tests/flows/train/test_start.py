"""Weights that a training begins with are found, told by what they are, and never unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from demucs_core.separators.registry import build_model, config_of
from demucs_core.separators.separator import SeparationModel
from flows.inputs import networks, registry
from flows.train.model import FirstModel, first_model
from flows.train.options import TrainOptions
from flows.train.start import find_start
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.workspace import Workspace

MUSIC = MusicFormat()
BAND = MusicFormat(sources=("guitar", "vocals", "drums", "bass", "other"))
SMALL: dict[str, Any] = {"channels": 4, "depth": 2, "crop_s": 0.01}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True)


@pytest.fixture
def model(workspace: Workspace) -> SeparationModel:
    """Of four sources; the workspace's ``four``."""
    music = {**MUSIC.to_json(), "architecture": "demucs", "channels": 4, "depth": 2}
    made = build_model(music, seed=7)
    networks.store(workspace, "models", "four", made, {"model": config_of(made)})
    return made


def begun(name: str, workspace: Workspace, music: MusicFormat = MUSIC, **told: Any) -> FirstModel:
    start = find_start(name, workspace)
    return first_model(TrainOptions(**SMALL | told), music, start)


def test_a_model_begins_with_one_of_the_workspace_or_of_a_folder_or_a_file(
    workspace: Workspace, model: SeparationModel, tmp_path: Path
) -> None:
    folder = Path(workspace.root) / "models" / "four"
    bare = tmp_path / "bare.safetensors"
    save_file({f"module.{name}": value for name, value in model.state_dict().items()}, bare)
    unsaid = [
        [], [f"nothing says which sources {bare} is for; taken as drums, bass, other, vocals"]
    ]  # fmt: skip
    for name in ("four", str(folder), str(bare)):
        began, told, notes = begun(name, workspace)
        assert torch.equal(
            torch.nn.utils.parameters_to_vector(began.parameters()),
            torch.nn.utils.parameters_to_vector(model.parameters()),
        )
        assert told["init_from"]["taken"] == len(model.state_dict())
        assert told["init_from"]["model"] == ("four" if name == "four" else "")
        assert (told["init_from"]["sources"] is None) == (name == str(bare))
        assert notes[0].endswith(f": {len(model.state_dict())} weights taken")
        assert notes[1:] == unsaid[name == str(bare)]
    starts = [find_start(name, workspace) for name in ("four", str(folder), str(bare))]
    digests = [start.digest for start in starts if start is not None]
    assert digests[0] == digests[1] != digests[2]


def test_other_sources_begin_afresh_and_are_named(
    workspace: Workspace, model: SeparationModel
) -> None:
    began, told, [note] = begun("four", workspace, BAND)
    assert told["init_from"]["in_part"] == ["decoder.1.2.weight", "decoder.1.2.bias"]
    assert "weights taken; 2 in part, by source (decoder.1.2)" in note
    bias, old = (each.state_dict()["decoder.1.2.bias"] for each in (began, model))
    assert torch.equal(bias[2:4], old[6:8])  # the vocals
    assert not torch.equal(bias[:2], old[:2])


def test_half_precision_is_read(
    workspace: Workspace, model: SeparationModel, tmp_path: Path
) -> None:
    halves = {name: value.half() for name, value in model.state_dict().items()}
    save_file(halves, tmp_path / "half.safetensors")
    began, *_ = begun(str(tmp_path / "half.safetensors"), workspace)
    assert all(value.dtype == torch.float32 for value in began.state_dict().values())


@pytest.mark.usefixtures("model")
def test_what_is_frozen_is_told(workspace: Workspace) -> None:
    began, told, _ = begun("four", workspace, freeze=["encoder.*", "lstm.*"])
    assert told["frozen"]
    still = {name for name, value in began.named_parameters() if not value.requires_grad}
    assert still == set(told["frozen"])
    assert TrainOptions(freeze=["lstm.*"]).content() != TrainOptions().content()
    with pytest.raises(UserError, match=r"freeze: pattern 'encodr\.\*' matches no weight"):
        begun("four", workspace, freeze=["encodr.*"])


def test_a_pickle_is_not_opened(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "955717e8.th"
    path.write_bytes(pickle.dumps(pytest.fail))
    with pytest.raises(UserError, match=r"may hold a program.*`silentmix convert demucs "):
        find_start(str(path), workspace)


@pytest.mark.usefixtures("model")
def test_what_can_not_be_begun_with_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished model 'nine'; there are four"):
        find_start("nine", workspace)
    for place in (f"{tmp_path}/nine", str(tmp_path), str(__file__)):
        with pytest.raises(
            UserError, match=r"init_from: [^:]*: no config\.json in it, so it is no"
        ):
            find_start(place, workspace)
    with pytest.raises(UserError, match="nine"):
        find_start("nine" * 1000, workspace)
    with pytest.raises(UserError, match=r"init_from: .*nine\.safetensors: no weights to read"):
        find_start(f"{tmp_path}/nine.safetensors", workspace)
    other = tmp_path / "other.safetensors"
    save_file({"a.b": torch.zeros(3)}, other)
    with pytest.raises(UserError, match=r"init_from: .*no weight fits: there are a\.b, the model"):
        begun(str(other), workspace)
    for damaged in (b"", b"damaged", pickle.dumps({"a.b": 0})):
        other.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged weights"):
            begun(str(other), workspace)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / registry.DESCRIPTION).write_text(json.dumps({"detector": {}}), encoding="utf-8")
    (folder / registry.WEIGHTS).write_bytes(b"")
    with pytest.raises(UserError, match="describes no model of ours"):
        find_start(str(folder), workspace)
    for text in ("[1]", "{", "[" * 100_000):
        (folder / registry.DESCRIPTION).write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"init_from: .*config\.json: no object of JSON"):
            find_start(str(folder), workspace)
    assert find_start("", workspace) is None
