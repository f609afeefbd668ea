"""A cancelled run stops at once, keeps what is done, says so, and is continued by the next."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.running.interruption import interruptible
from storage.tables.manifests import Manifests
from storage.weights import load_tensors
from storage.workspace import Workspace
from tests.flows.conftest import Corpus, Finished, content
from tests.flows.pipeline.test_resume import POLL_S, TIMEOUT_S

MANY_STEPS = 10_000_000


def test_an_interrupt_waits_for_the_end_of_a_step() -> None:
    steps: list[str] = []

    def work(stop: Callable[[], bool]) -> None:
        while not stop():
            steps.append("begun")
            if len(steps) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            steps.append("ended")
            assert len(steps) < MANY_STEPS, "the interrupt went unheard"
        steps.append("saved")

    with pytest.raises(KeyboardInterrupt):
        interruptible(work)
    assert steps[-1] == "saved"
    assert steps.count("begun") == steps.count("ended") >= 2


def test_work_that_is_not_interrupted() -> None:
    assert interruptible(lambda stop: stop()) is False
    with pytest.raises(ValueError, match="its own"):
        interruptible(fail)


def fail(_: Callable[[], bool]) -> None:
    raise ValueError("its own")


def cancel(command: list[str], reached: Callable[[], bool], sent: signal.Signals) -> None:
    """Run a command, and send a signal to it alone as soon as it has got somewhere."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *command],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + TIMEOUT_S
    while not reached():
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    process.send_signal(sent)
    output = process.communicate(timeout=TIMEOUT_S)[0].decode()
    assert process.returncode in (-sent, 130), output
    while left := session(process.pid):
        assert time.monotonic() < deadline, f"processes are left behind: {left}"
        time.sleep(POLL_S)


def session(leader: int) -> list[str]:
    """The processes of a session, but for those that have ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _, _, of_session = rest.split()[:4]
        if int(of_session) == leader and state != "Z":
            found.append(name)
    return found


def outcomes(root: Path, stage: str) -> list[str]:
    manifests = Manifests(Workspace(str(root)))
    return [
        row["outcome"]
        for partition in manifests.partitions("runs")
        for row in manifests.rows(partition)
        if row["stage"] == stage
    ]


@pytest.mark.slow
def test_cancelled_in_score_and_in_train(
    corpus: Corpus, finished: Finished, tmp_path: Path
) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(finished.workspace.root, root)
    for made in ("manifests/scores/corpus=music", "manifests/runs", "models"):
        shutil.rmtree(root / made)
    config = ["--config", str(corpus.config(root))]

    def some_scores() -> bool:
        return len(list(root.glob("manifests/scores/corpus=music/*/*.parquet"))) >= 2

    cancel(["score", *config], some_scores, signal.SIGINT)
    assert outcomes(root, "score") == ["cancelled"]
    mine, theirs = content(Workspace(str(root))), content(finished.workspace)
    [scores] = [p for p in mine if p.table == "scores" and p.corpus == "music"]
    assert set(mine[scores]) < set(theirs[scores])

    steps, every = 3000, 7

    def checkpoints() -> list[Path]:
        """Those after the one that is there before the first step."""
        told = [json.loads(path.read_text()) for path in root.glob("models/*/unfinished.json")]
        begun = any(progress["step"] for progress in told)
        return list(root.glob("models/*/checkpoint*")) if begun else []

    options = [f"--steps={steps}", f"--checkpoint-every={every}", f"--validate-every={steps}"]
    options.append("--labelled=labelled")  # the corpus, where a `run` has the folder
    cancel(["train", *config, *options], lambda: bool(checkpoints()), signal.SIGTERM)
    assert outcomes(root, "train") == ["cancelled"]
    [checkpoint] = checkpoints()
    _, state = load_tensors(Workspace(str(root)), str(checkpoint.relative_to(root)))
    trainer = state["trainer"]
    assert isinstance(trainer, dict)
    assert every <= trainer["step"] < steps
    assert not list(root.rglob("*.tmp"))
