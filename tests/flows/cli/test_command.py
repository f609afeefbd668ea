"""The command as a process of its own: what it prints, and the server it starts."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from flows.cli.main import EXIT_USER_ERROR
from flows.server.process import leave_nothing
from tests.flows.conftest import Finished

POLL_S = 0.1
TIMEOUT_S = 300


def environment(home: Path) -> dict[str, str]:
    """This process's, less the tests' own Prefect server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return {**kept, "HOME": str(home)}


def test_a_flow_that_fails_prints_one_line(finished: Finished, tmp_path: Path) -> None:
    location = finished.workspace.location
    command = ["score", "--workspace", location, "--corpus", "nobodys"]
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *command],
        env=environment(tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_USER_ERROR
    [line] = done.stderr.splitlines()
    assert line.startswith(f"silentmix: {location}: no tracks of corpus 'nobodys'; there are some")
    assert not done.stdout
    with closing(sqlite3.connect(f"{location}/.prefect/prefect.db")) as database:
        assert database.execute("SELECT name FROM flow_run").fetchall() == [("score nobodys",)]


def test_an_audit_with_files_is_told_to_the_workspaces_own_server(
    finished: Finished, tmp_path: Path
) -> None:
    home = Path(finished.workspace.location) / ".prefect"
    (home / "server.log").unlink(missing_ok=True)  # of the one before
    command = ["audit", "--export", str(tmp_path / "clips")]
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *command, "--workspace", finished.workspace.location],
        env=environment(tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (home / "server.log").exists()
    assert not (tmp_path / ".prefect").exists()


def test_a_server_of_a_workspace_that_was_not_begun_leaves_nothing(tmp_path: Path) -> None:
    workspace = tmp_path / "far" / "workspace"
    made = [workspace / ".prefect", workspace, workspace.parent]
    made[0].mkdir(parents=True)
    (made[0] / "prefect.db").touch()
    leave_nothing([])
    leave_nothing(made)
    assert not list(tmp_path.iterdir())
    made[0].mkdir(parents=True)
    (workspace / "workspace.json").touch()
    leave_nothing(made)
    assert made[0].exists()


def test_what_is_refused_at_once_leaves_nothing(tmp_path: Path) -> None:
    command = ["train", "--workspace", "nowhere"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flows.cli", *command],
        env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_USER_ERROR
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert len(said) == 1
    assert not any(name in done.stderr for name in ("prefect.", "torch", "distributed"))
    assert not list(tmp_path.iterdir())
