"""The report of ``separate``: in the workspace that holds the model, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import soundfile
from prefect.settings import PREFECT_API_URL, temporary_settings

from demucs_core.separators.registry import build_model, config_of
from flows.inputs import networks
from flows.provenance.report_texts import Named, figures_that_name
from flows.separate import report as module
from flows.separate.command import separate_files
from flows.separate.options import SeparateParameters
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.reports.pages import artifacts

RATE = 44_100


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With the model ``small``, which makes stems beyond full scale of loud music."""
    made = Workspace(str(tmp_path / "workspace"), create=True)
    config = {**asdict(MusicFormat()), "architecture": "wave_unet", "channels": 2, "depth": 3}
    model = build_model(config, seed=0)
    networks.store(made, "models", "small", model, {"model": config_of(model)})
    return made


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A loud song, a silent one, one that breaks off, and no music."""
    folder = tmp_path / "music"
    folder.mkdir()
    noise = np.random.default_rng(0).uniform(-1, 1, (RATE, 2)).astype(np.float32)
    soundfile.write(folder / "loud <b>.wav", 4 * noise, RATE, "FLOAT")
    soundfile.write(folder / "silent.wav", 0 * noise, RATE)
    soundfile.write(folder / "whole.wav", noise, RATE)
    whole = (folder / "whole.wav").read_bytes()
    (folder / "broken.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "no.mp3").write_bytes(b"not music" * 1000)
    return folder


def separate(workspace: Workspace, files: Path, **fields: Any) -> list[str]:
    """What was said of it."""
    said: list[str] = []
    told = {"workspace": workspace.location, "segment_s": 1.0, "device": "cpu", **fields}
    output = str(files.parent / "stems")
    parameters = SeparateParameters(output=output, **told)
    stems: Iterator[Path] = separate_files([str(files)], parameters, said.append)
    try:
        list(stems)
    except ValueError as error:
        said.append(str(error))
    return said


def test_what_came_of_each_file(workspace: Workspace, music: Path) -> None:
    with mock.patch.object(module, "MAX_HEARD", 2):
        *_, where, refused = separate(workspace, music)
    assert refused == "1 of 5 files not separated"
    index = Path(where.removeprefix("report: "))
    assert index.parent.parent == Path(workspace.location, "reports")
    songs = {
        Path(song["file"]).name: song
        for song in json.loads((index.parent / "songs.json").read_text())
    }
    assert songs["no.mp3"]["outcome"] == "refused"
    assert songs["broken.wav"]["notes"][0].startswith("breaks off; the 0.5 s")
    loud = songs["loud <b>.wav"]
    assert loud["level_db"]["mixture"] == pytest.approx(20 * np.log10(4 / 3**0.5), abs=0.1)
    beyond = {name for name, peak_db in loud["peak_db"].items() if peak_db > 0} - {"mixture"}
    assert beyond
    assert all(f"{name} " in loud["notes"][0] for name in beyond)
    assert songs["silent.wav"]["level_db"]["mixture"] is None
    page = index.read_text()
    assert "loud &lt;b&gt;.wav" in page
    assert page.count("<audio") == 2 * 5
    assert {path.name for path in index.parent.glob("01-*.mp3")} == {
        f"01-{name}.mp3" for name in loud["level_db"]
    }  # fmt: skip
    [shown] = artifacts(key="separate-report")[:1]
    assert "with small" in shown["description"]
    link = f'href="{index.parent.name}/index.html"'
    assert link in workspace.read("reports/index.html").decode(), "the workspace's page leads there"
    named = Named(ids=set(), names={"loud <b>.wav"})
    assert len(figures_that_name(page, named)) == 10, "`forget` knows what is of a file"


def test_what_was_done_is_no_news(workspace: Workspace, music: Path) -> None:
    (music / "no.mp3").unlink()
    first = separate(workspace, music)
    assert first[-1].startswith("report: ")
    assert [line.split(":")[0] for line in separate(workspace, music)] == ["4 of 4 files skipped"]
    soundfile.write(music / "new.wav", np.full((RATE, 2), 0.1), RATE)
    where = separate(workspace, music)[-1].removeprefix("report: ")
    songs = json.loads(Path(where).with_name("songs.json").read_text())
    assert sorted(song["outcome"] for song in songs) == [
        "separated", *["skipped: separated alike before"] * 4
    ]  # fmt: skip


def test_no_report_where_there_is_nobody_to_keep_it(workspace: Workspace, music: Path) -> None:
    """A folder of stems has stems in it; whoever separates with a model from elsewhere has no
    workspace, and a report that can't be written takes no stem with it."""
    song = music / "whole.wav"
    folder = f"{workspace.location}/models/small"
    before = workspace.find("reports")
    said = [line for line in separate(workspace, song, model=folder) if "beyond" not in line]
    assert said == []
    said = separate(workspace, song, report=False, overwrite=True)
    assert "report:" not in str(said)
    Path(workspace.location, "reports").write_text("in the way")
    said = separate(workspace, song, overwrite=True)
    assert said[-1].startswith(f"no report: {workspace.location} can't be written (")
    assert not (music.parent / "stems" / "whole" / "index.html").exists()
    assert (before, Manifests(workspace).partitions("runs")) == ([], [])


def test_without_a_server_none_is_asked(
    workspace: Workspace, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "show_of_no_run", lambda *_: pytest.fail("it was"))
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert separate(workspace, music / "whole.wav")[-1].startswith("report: ")
