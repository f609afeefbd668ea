"""A run that is killed outright continues, and ends with the rows of an undisturbed one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.inputs import registry
from storage.tables.schemas import TABLES
from storage.workspace import Workspace
from tests.flows.conftest import (
    OF_PRINTS,
    TABLES_OF_TIMES,
    Corpus,
    Finished,
    assert_same,
    content,
)

POLL_S = 0.02
TIMEOUT_S = 400


def start(config: Path) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    command = [sys.executable, "-m", "flows.cli", "run", "--config", str(config)]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def kill_once(config: Path, reached: Callable[[], bool]) -> None:
    """Run the pipeline, and kill it as soon as it has got somewhere."""
    process = start(config)
    deadline = time.monotonic() + TIMEOUT_S
    while not reached():
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def before_scoring(finished: Finished, root: Path) -> None:
    """A copy of the workspace as it was when the detector had been fitted."""
    shutil.copytree(finished.workspace.root, root, ignore=shutil.ignore_patterns(".prefect"))
    models = registry.names(finished.workspace, "models")
    for pattern in (
        "reports", "models", "manifests/scores/corpus=music",
        *(f"manifests/{table}" for table in ("segments", "remixes", "steps", "evaluations")),
        *(f"manifests/heard/*/fingerprint={name}" for name in models),
    ):  # fmt: skip
        for folder in root.glob(pattern):
            shutil.rmtree(folder)


@pytest.mark.slow
def test_killed_in_score_and_in_train(corpus: Corpus, finished: Finished, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    config = corpus.config(root)
    before_scoring(finished, root)

    def some_scores() -> bool:
        return len(list(root.glob("manifests/scores/corpus=music/*/*.parquet"))) >= 2

    def second_model_under_way() -> bool:
        finished_models = list(root.glob("models/*/config.json"))
        return bool(finished_models) and len(list(root.glob("models/*/checkpoint*"))) > 0

    kill_once(config, some_scores)
    assert not list(root.glob("manifests/segments/**/*.parquet"))
    kill_once(config, second_model_under_way)
    assert len(list(root.glob("models/*/config.json"))) == 1
    process = start(config)
    output = process.communicate(timeout=TIMEOUT_S)[0].decode()
    assert process.returncode == 0, output

    continued = Workspace(str(root))
    mine = content(continued)
    written = {partition.table for partition in mine}
    never = {"audits", "tempos", "prints", "duplicates"}.difference(OF_PRINTS)
    assert written == set(TABLES) - TABLES_OF_TIMES - never
    assert_same(mine, content(finished.workspace))
    for kind in ("detectors", "models"):
        assert registry.names(continued, kind) == registry.names(finished.workspace, kind)
        for name in registry.names(continued, kind):
            weights = f"{kind}/{name}/{registry.WEIGHTS}"
            assert continued.read(weights) == finished.workspace.read(weights)
    assert not list(root.rglob("*.tmp"))
    assert not list(root.glob("models/*/checkpoint*"))


def test_the_server_does_not_outlive_a_killed_command(corpus: Corpus, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    config = corpus.config(root)
    kill_once(config, lambda: (root / ".prefect" / "prefect.db").exists())
    deadline = time.monotonic() + TIMEOUT_S
    while _uses(root / ".prefect"):
        assert time.monotonic() < deadline, "a server is left behind"
        time.sleep(POLL_S)


def _uses(folder: Path) -> bool:
    """Whether any process has a file below ``folder`` open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()).startswith(str(folder)):
                return True
        except OSError:
            continue
    return False
