"""What ``status`` says of runs that work, and of runs that were killed."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from flows.cli.overview import print_status
from flows.running import under_way as module
from flows.running.progress import progress
from flows.running.under_way import FOLDER, runs_under_way, under_way
from storage.workspace import Workspace


def status(workspace: Workspace) -> list[str]:
    """The lines of ``silentmix status`` on what runs now."""
    said = io.StringIO()
    print_status(workspace.location, Console(file=said, width=200))
    return [line for line in said.getvalue().splitlines() if line.startswith("now: ")]


@pytest.fixture(params=["folder", "memory"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    place = str(tmp_path / "workspace") if request.param == "folder" else f"memory://{tmp_path}"
    return Workspace(place, create=True)


def test_a_run_is_told_while_it_works(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for interval in ("INTERVAL_S", "INTERVAL_IN_BUCKET_S"):
        monkeypatch.setattr(module, interval, 0.0)
    monkeypatch.setattr("flows.running.progress.ARTIFACT_INTERVAL_S", 0.0)
    with under_way(workspace, "score-1", "score", "live", "f1"):
        [told] = status(workspace)
        assert told.startswith("now: score live (f1) since ")
        assert told.endswith(": not counted yet")
        with progress("score", 12, "tracks") as bar:
            bar.advance(5)
            [told] = status(workspace)
            assert ": 5 of 12 tracks, " in told
            with under_way(workspace, "train-1", "train", "labelled", "f2"):
                assert [run.stage for run in runs_under_way(workspace)] == ["score", "train"]
    assert not status(workspace)
    assert not workspace.find(FOLDER)


def test_a_run_that_was_killed_is_not_told_and_the_next_one_sweeps(workspace: Workspace) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with under_way(workspace, "score-1", "score", "live", "f1"):
        [noted] = [workspace.read_json(path) for path in workspace.find(FOLDER)]
    noted |= {"pid": other.pid, "process_started_at": psutil.Process(other.pid).create_time()}
    workspace.put_json(f"{FOLDER}/killed.json", noted)
    elsewhere = noted | {"pid": 1, "host": "elsewhere"}
    workspace.put_json(f"{FOLDER}/elsewhere.json", elsewhere)
    workspace.put_bytes(f"{FOLDER}/damaged.json", b"{")
    workspace.put_json(f"{FOLDER}/another.json", {"stage": "score"})
    here, there = status(workspace)
    assert ", on elsewhere: " in max(here, there, key=len)
    other.communicate()
    [there] = status(workspace)
    assert ", on elsewhere: " in there
    workspace.put_json(f"{FOLDER}/elsewhere.json", elsewhere | {"told_at": "2020-01-01T00:00:00Z"})
    assert not status(workspace)
    with under_way(workspace, "score-2", "score", "live", "f1"):
        assert workspace.find(FOLDER) == [f"{FOLDER}/score-2.json"]
