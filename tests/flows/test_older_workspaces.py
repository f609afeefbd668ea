"""A workspace that silentmix 0.1.0 wrote: read, found done, continued and evaluated.

``tests/workspaces/make_0_1_0.py`` made it, by the code of then. Where one of these tests fails,
people's workspaces are broken: mend the code, not the archive.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main as cli
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.workspaces.make_0_1_0 import mix, play, write

ARCHIVE = Path(__file__).parents[1] / "workspaces/0.1.0.tar.xz"
ROWS = {
    "tracks": 3, "rejects": 5, "stems": 30, "activity": 30, "scores": 5, "segments": 11,
    "tempos": 6, "remixes": 66, "heard": 18, "audits": 10, "evaluations": 8, "runs": 13,
}  # fmt: skip
"""Rows of every table of 0.1.0, in all partitions."""
REJECTED = {
    "broken.mp3": "corrupt",
    "copy.wav": "duplicate",
    "leak.wav": "labelled_test",
    "short.wav": "too_short",
    "silent.wav": "silent",
}
AFTER_INGEST = ("fit-detector", "score", "extract", "remix", "train", "evaluate")
"""The stages of the chain that need no source files, a name a result that is what it was."""


@pytest.fixture(autouse=True)
def the_tests_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "configure_prefect", lambda *_: False)
    monkeypatch.setenv("COLUMNS", "200")


def unpack(folder: Path, *names: str) -> None:
    """Unpack some of the archive's ``workspace``, ``labelled``, ``music`` and ``config.yaml``."""
    with tarfile.open(ARCHIVE) as archive:
        members = [member for member in archive if member.name.split("/")[0] in names]
        archive.extractall(folder, members, filter="data")


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    """A copy to change."""
    unpack(tmp_path, "workspace")
    return str(tmp_path / "workspace")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says on the standard output; it must succeed."""
    capsys.readouterr()
    status = cli.main(arguments)
    said = capsys.readouterr()
    assert status == 0, said.err
    return said.out


def contents(workspace: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of every partition, by its folder; those of ``runs`` tell when, not what."""
    manifests = Manifests(Workspace(workspace))
    return {
        partition.folder: list(manifests.rows(partition))
        for table in ROWS
        if table != "runs"
        for partition in manifests.partitions(table)
    }


def all_rows(workspace: str, table: str) -> list[dict[str, Any]]:
    manifests = Manifests(Workspace(workspace))
    return [row for found in manifests.partitions(table) for row in manifests.rows(found)]


def test_every_manifest_is_read(workspace: str) -> None:
    assert {table: len(all_rows(workspace, table)) for table in ROWS} == ROWS
    rejects = all_rows(workspace, "rejects")
    assert {Path(row["item"]).name: row["reason"] for row in rejects} == REJECTED


def test_it_is_shown(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "status", "--workspace", workspace)
    models = {row["model_id"] for row in all_rows(workspace, "evaluations")}
    assert len(models) == 2
    for name in (*models, "labelled", "music"):
        assert name in said
    said = run(capsys, "manifests", "query", "--workspace", workspace, "SELECT * FROM remixes")
    assert "remix_id" in said


def test_lineage_leads_to_the_files_of_then(
    workspace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = Manifests(Workspace(workspace))
    [model] = {
        partition.fingerprint
        for partition in manifests.partitions("heard")
        for row in manifests.rows(partition)
        if row["heard_by"] == "models" and not row["labelled"]
    }
    ask = ("--workspace", workspace, "--json", "--most", "0")
    files = json.loads(run(capsys, "lineage", model, *ask))["files"]["first"]
    assert "/tmp/silentmix-0.1.0/labelled/train/Song 1/bass.wav" in files
    song = "/tmp/silentmix-0.1.0/music/a b.wav"
    assert song in files
    [heard_by] = json.loads(run(capsys, "lineage", song, *ask))["models"]
    assert heard_by["id"] == model


def test_every_stage_after_ingest_is_done(
    tmp_path: Path, workspace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for the model that heard remixes: how it hears them has changed.

    All silences are kept, as then, not the surest.
    """
    before = contents(workspace)
    unpack(tmp_path, "config.yaml")
    config = ("--config", str(tmp_path / "config.yaml"), "--workspace", workspace)
    as_then = ("--extract.surest-share", "1")
    said = run(capsys, "run", *config, "--from", "fit-detector", *as_then)
    done = [line.split()[0] for line in said.splitlines() if "(was done)" in line]
    assert done == list(AFTER_INGEST)
    after = contents(workspace)
    assert {folder: after[folder] for folder in before} == before
    assert {folder.split("/")[1] for folder in after.keys() - before} == {"heard", "evaluations"}


def test_it_is_continued_and_evaluated(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(workspace)
    there = ("--workspace", workspace, "--workers", "1")
    segments = {row["segment_id"] for row in all_rows(workspace, "segments")}
    run(capsys, "remix", *there, "--remixes-per-segment", "2", "--seed", "1")
    [recipes] = [
        rows for folder, rows in contents(workspace).items()
        if folder.startswith("manifests/remixes") and folder not in before
    ]  # fmt: skip
    assert {row["segment_id"] for row in recipes} == segments
    run(
        capsys, "train", *there, "--channels", "4", "--depth", "2", "--steps", "2",
        "--batch-size", "2", "--crop-s", "1", "--weak-share", "0.5", "--validate-every", "2",
        "--validation-crops", "1",
    )  # fmt: skip
    said = run(capsys, "evaluate", *there)
    assert said.count("(was done)") == 2
    after = contents(workspace)
    assert {folder: after[folder] for folder in before} == before
    models = {row["model_id"] for row in all_rows(workspace, "evaluations")}
    assert len(models) == 3
    assert all(model in said for model in models)


def test_its_music_found_elsewhere_is_known_and_new_music_joins(
    tmp_path: Path, workspace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {table: all_rows(workspace, table) for table in ("tracks", "stems", "activity")}
    there = ("--workspace", workspace, "--workers", "1")
    unpack(tmp_path, "labelled", "music")
    write(tmp_path / "music/new.wav", mix(play(200)))
    run(capsys, "ingest", *there, "--source", str(tmp_path / "labelled"), "--labelled",
        "--corpus", "labelled")  # fmt: skip
    run(capsys, "ingest", *there, "--source", str(tmp_path / "music"))
    assert all_rows(workspace, "stems") == before["stems"]
    assert all_rows(workspace, "activity") == before["activity"]
    old = {row["track_id"] for row in before["tracks"]}
    [new] = [row for row in all_rows(workspace, "tracks") if row["track_id"] not in old]
    assert new["source_url"] == str(tmp_path / "music/new.wav")
    assert len(all_rows(workspace, "tracks")) == len(old) + 1
