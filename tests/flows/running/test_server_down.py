"""A Prefect server that goes down in the middle of a run: nothing is lost, and work continues."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.cli.main import EXIT_USER_ERROR
from flows.score.flow import score
from flows.score.options import ScoreParameters
from flows.server.process import healthy, server_command, server_environment
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import Finished, content
from tests.flows.running.held_track import held
from tests.flows.service.standing_service import TIMEOUT_S, free_port, wait_for

USER_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("PREFECT")
}


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of a Prefect server that is killed outright when the block ends."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environ = server_environment(port, {**USER_ENVIRONMENT, "PREFECT_HOME": str(home)})
    server = subprocess.Popen(server_command(port, lasting=True), env=environ)
    try:
        wait_for(lambda: healthy(address))
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_the_server_goes_down_in_the_middle_of_a_run(finished: Finished, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(finished.workspace.root, root)
    for made in ("scores/corpus=music", "runs"):
        shutil.rmtree(root / "manifests" / made)

    def parts() -> dict[Path, int]:
        """The parts of the scores, and when each was written."""
        found = root.glob("manifests/scores/corpus=music/*/*.parquet")
        return {path: path.stat().st_mtime_ns for path in found}

    tracks = list((root / "audio/music").rglob("*.wav"))
    with held(tracks[0]) as [track]:
        with serving(root / ".prefect") as address:
            run = begin(root, address)
            wait_for(lambda: parts() or run.poll() is not None)
        done = parts()
        assert 0 < len(done) < len(tracks)
        track.release()
        said = run.communicate(timeout=TIMEOUT_S)[1].splitlines()[-1]

    # the work went on to its end, and the last line says what is the matter and what to do
    assert run.returncode == EXIT_USER_ERROR, said
    assert said.startswith("silentmix: the Prefect server does not answer")
    assert "what was done is kept" in said
    assert "run the same command to continue" in said
    assert len(parts()) == len(tracks)
    assert parts().items() > done.items()
    [recorded] = Manifests(Workspace(str(root))).partitions("runs")
    [row] = Manifests(Workspace(str(root))).rows(recorded)
    assert row["outcome"] == "completed"

    # another server, the tests' own: there is nothing to do again
    written = parts()
    assert score(ScoreParameters(workspace=str(root), workers=1)).already_done
    assert parts() == written
    mine, theirs = content(Workspace(str(root))), content(finished.workspace)
    [scores] = [each for each in mine if each.table == "scores" and each.corpus == "music"]
    assert mine[scores] == theirs[scores]


def begin(root: Path, address: str) -> subprocess.Popen[str]:
    """Begin to score, with two workers: one waits for a track, the other goes on."""
    environ = {
        **USER_ENVIRONMENT,
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_CLIENT_MAX_RETRIES": "1",  # for each it waits longer
    }
    options = ["--workspace", str(root), "--workers", "2", "--batch-tracks", "1"]
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "score", *options],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
