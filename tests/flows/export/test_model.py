"""A model goes elsewhere, and sounds the same there."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import demucs.separate
import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from safetensors import safe_open

from demucs_core.separators.registry import build_model, config_of
from demucs_core.separators.separation import separate
from demucs_core.separators.separator import SeparationModel
from flows.cli import main as cli
from flows.export.model import export_model
from flows.export.onnx_file import require_same
from flows.export.options import ExportModelParameters
from flows.inputs import networks
from flows.separate.model_folder import load_folder
from flows.train.start import find_start
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.demucs_core.separators.small import SMALL
from tests.flows.conftest import Finished

SPEECH = MusicFormat(sources=("vocals", "other"), sample_rate=8000)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True, music=SPEECH)


def stored(workspace: Workspace, architecture: str, **description: Any) -> SeparationModel:
    config = {**asdict(SPEECH), "architecture": architecture, **SMALL[architecture]}
    model = build_model(config, seed=0).eval()
    told = {"model": config_of(model), **description}
    networks.store(workspace, "models", architecture, model, told)
    return model


def exported(
    workspace: Workspace, model: str, *formats: str, **told: Any
) -> tuple[Path, list[str]]:
    lines: list[str] = []
    parameters = ExportModelParameters.model_validate(
        {"workspace": workspace.location, "model": model, "formats": formats, "segment_s": 0.2,
         "output": str(Path(workspace.root).parent / "out"), **told}
    )  # fmt: skip
    return export_model(parameters, lines.append), lines


def music(num_samples: int) -> np.ndarray:
    time_s = np.arange(num_samples) / SPEECH.sample_rate
    tone = np.sin(2 * np.pi * 220 * time_s) * np.exp(-(time_s % 0.25) * 8)
    return np.stack([0.3 * tone, 0.2 * tone[::-1]]).astype(np.float32)


def test_safetensors_come_with_a_card_and_are_taken_back(workspace: Workspace) -> None:
    model = stored(
        workspace, "demucs",
        made_from={"stems/labelled/f1": "abc"}, counts={"songs": 3.0, "remixes": 12.0},
        training={"weak_share": 0.25, "augmentation": {"flip_sign": True}},
        parameters={"crop_s": 1.5, "freeze": ["encoder.*", "lstm.*"]},
        init_from={"from": "model f0", "sha256": "123", "model": "f0"},
    )  # fmt: skip
    Manifests(workspace).write(
        Partition("evaluations", "labelled", "e1"), ["song"],
        [{"model_id": "demucs", "track_id": "song", "song": "Song", "source": source,
          "sdr_db": 5.125, "isr_db": 1.0, "sir_db": 7.5, "sar_db": 1.0, "song_sdr_db": 4.0,
          "museval_path": "x"}
         for source in SPEECH.sources],
    )  # fmt: skip
    folder, lines = exported(workspace, "demucs")
    assert lines == []
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "weights.safetensors"
    ]  # fmt: skip
    mixture = torch.from_numpy(music(500))[None]
    with torch.no_grad():
        assert torch.equal(load_folder(folder)(mixture), model(mixture))
    start = find_start(str(folder / "weights.safetensors"), workspace)
    assert start is not None
    assert start.sources == SPEECH.sources
    with safe_open(folder / "weights.safetensors", "np") as file:
        assert json.loads(file.metadata()["model"]) == config_of(model)
    card = (folder / "README.md").read_text("utf-8")
    num_weights = sum(weight.numel() for weight in model.parameters())
    assert card.startswith("---\nlibrary_name: silentmix\n")
    for told in ("| stems | labelled | f1 | abc |", "remixes 12, songs 3", "Began with model f0",
                 "| labelled | e1 | vocals | 1 | 5.12 | 7.50 | 4.00 |", "| weak\\_share | 0.25 |",
                 "| augmentation.flip\\_sign | True |", "| crop\\_s | 1.5 |",
                 "| freeze | encoder.\\*, lstm.\\* |", "| sources | vocals, other |",
                 f"; {num_weights:,} weights.", "| depth | 2 |", "MUSDB18", "MIT"):  # fmt: skip
        assert told in card, told


@pytest.mark.parametrize("architecture", ["demucs", "wave_unet"])
def test_an_onnx_network_sounds_as_the_original(workspace: Workspace, architecture: str) -> None:
    model = stored(workspace, architecture)
    folder, [line] = exported(workspace, architecture, "onnx")
    assert "model.onnx takes mixture, of shape (1, 2, " in line
    assert "noise (there was no song)" in line
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    [given] = session.get_inputs()
    mixture = torch.from_numpy(music(given.shape[-1]))[None]
    [made] = session.run(None, {"mixture": mixture.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(made, model(mixture).numpy(), atol=1e-5)


def test_formats_are_compared_on_a_test_song(finished: Finished, tmp_path: Path) -> None:
    name = finished.rows("evaluations")[0]["model_id"]
    _, lines = exported(finished.workspace, name, "onnx", "demucs", output=str(tmp_path / "out"))
    assert len(lines) == 2
    assert all("n a stretch of the song Song 7" in line for line in lines)


@pytest.mark.parametrize("architecture", ["demucs", "htdemucs"])
def test_the_official_command_loads_what_it_is_given(
    workspace: Workspace, architecture: str, tmp_path: Path
) -> None:
    """Its own command line separates as we do, on the song as that command scales it."""
    model = stored(workspace, architecture)
    folder, [line] = exported(workspace, architecture, "demucs")
    assert f"demucs --repo demucs -n {architecture} SONG" in line
    mixture = music(2000)
    soundfile.write(tmp_path / "song.wav", mixture.T, SPEECH.sample_rate, subtype="FLOAT")
    demucs.separate.main(
        ["--repo", str(folder / "demucs"), "-n", architecture, "--float32", "--clip-mode", "none",
         "-d", "cpu", "--shifts", "0", "-o", str(tmp_path / "theirs"), str(tmp_path / "song.wav")]
    )  # fmt: skip
    mono = mixture.mean(0)
    scaled = torch.from_numpy((mixture - mono.mean()) / (mono.std(ddof=1) + 1e-8))
    longest = model.longest_segment() or round(0.2 * SPEECH.sample_rate)
    ours = separate(model, scaled, segment_samples=longest, max_shift_samples=0).numpy()
    for source, estimate in zip(SPEECH.sources, ours, strict=True):
        path = tmp_path / "theirs" / architecture / "song" / f"{source}.wav"
        theirs, rate = soundfile.read(path, dtype="float32")
        assert rate == SPEECH.sample_rate
        expected = estimate * (mono.std(ddof=1) + 1e-8) + mono.mean()
        np.testing.assert_allclose(theirs.T, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "formats", "message"),
    [
        ("open_unmix", ["onnx"], "ONNX has no complex numbers, which open_unmix works on"),
        ("wave_unet", ["demucs"], "official demucs knows the architectures demucs and htdemucs"),
    ],
)
def test_what_can_not_be_written_is_refused_and_nothing_is_left(
    workspace: Workspace, architecture: str, formats: list[str], message: str
) -> None:
    stored(workspace, architecture)
    before = sorted(Path(workspace.root).parent.iterdir())
    with pytest.raises(UserError, match=message):
        exported(workspace, architecture, *formats)
    assert sorted(Path(workspace.root).parent.iterdir()) == before


def test_a_missing_runtime_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(workspace, "demucs")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'silentmix\[onnx\]'"):
        exported(workspace, "demucs", "onnx")


def test_another_output_is_not_kept() -> None:
    expected = np.array([0.5, 2.0])
    assert require_same(expected + 1e-5, expected, "x") == pytest.approx(1e-5)
    for wrong in (expected + 1e-3, expected * np.nan):
        with pytest.raises(UserError, match="x: gives another output than the model"):
            require_same(wrong, expected, "x")


def test_the_command_says_what_it_wrote(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(workspace, "demucs")
    command = [
        "export",
        "model",
        "--workspace",
        workspace.location,
        "--output",
        str(tmp_path / "o"),
    ]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "o")
    assert cli.main(command) == 2
    assert "exists; name another folder" in capsys.readouterr().err
