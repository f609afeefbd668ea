"""Trainings by several processes: the same model, whoever starts, stops or kills them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from demucs_core.training.trainer import StepReport
from flows.cli.main import EXIT_USER_ERROR, main
from flows.inputs import registry
from flows.running.launcher import launched
from flows.running.parameters import option_words
from flows.train.companion import Companion, Task
from flows.train.options import TrainParameters
from flows.train.processes import num_processes
from flows.train.step_log import StepLog
from storage.errors import UserError
from storage.weights import load_tensors
from storage.workspace import Workspace
from tests.flows.train.learning import TRAIN, assert_same, learn, steps

pytestmark = pytest.mark.usefixtures("nothing_is_drawn")
TWO: dict[str, Any] = {"processes": 2, "threads": 1, "ema_decays": [0.5], "accumulation": 1}


class Undisturbed(NamedTuple):
    """A workspace with what two processes made, and where they listened meanwhile."""

    workspace: Workspace
    listening: set[str]


@pytest.fixture(scope="module")
def two(ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    place = tmp_path_factory.mktemp("undisturbed") / "workspace"
    shutil.copytree(ingested / "workspace", place)
    listening: set[str] = set()
    add = StepLog.add

    def look(self: StepLog, report: StepReport) -> Mapping[str, Any]:
        here = psutil.Process()
        for process in (here, *here.children(recursive=True)):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    listening.add(connection.laddr.ip)
        return add(self, report)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepLog, "add", look)
        learn(Workspace(str(place)), **TWO)
    return Undisturbed(Workspace(str(place)), listening)


@pytest.fixture
def undisturbed(two: Undisturbed) -> Workspace:
    return two.workspace


def state(workspace: Workspace, name: str) -> dict[str, np.ndarray]:
    return load_tensors(workspace, f"models/{name}/final-state.safetensors")[0]


def assert_close(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_two_processes_make_the_model_that_one_makes(
    undisturbed: Workspace, workspace: Workspace
) -> None:
    name = learn(workspace, **{**TWO, "processes": 1}).fingerprint
    assert registry.names(undisturbed, "models") == [name]
    assert_close(state(workspace, name), state(undisturbed, name))
    ours, theirs = steps(workspace, name), steps(undisturbed, name)
    assert [row["step"] for row in theirs] == [1, 2, 3, 4]
    for mine, other in zip(ours, theirs, strict=True):
        for figure in ("loss", "labelled_loss", "gradient_norm", "validation_loss"):
            assert mine[figure] == pytest.approx(other[figure], rel=1e-2, nan_ok=True)


def test_processes_listen_on_this_machine_alone(two: Undisturbed) -> None:
    assert two.listening == {"127.0.0.1"}


def hit(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, sent: signal.Signals, told: str
) -> str:
    """Train in two processes, of which the second gets a signal in step 2; the training's id."""
    others: list[Companion] = []
    wait, add = Companion.wait_until_ready, StepLog.add

    def watch(self: Companion) -> None:
        others.append(self)
        wait(self)

    def send(self: StepLog, report: StepReport) -> Mapping[str, Any]:
        if report.step == 2:
            os.kill(others[0].pid, sent)
            if sent == signal.SIGKILL:
                others[0].last_words()  # once it is gone
        return add(self, report)

    with monkeypatch.context() as patch:
        patch.setattr(Companion, "wait_until_ready", watch)
        patch.setattr(StepLog, "add", send)
        with pytest.raises(UserError, match=told):
            learn(workspace, **TWO)
    [(name, progress)] = registry.unfinished(workspace)
    # the second may have asked whether to stop before step 3 when the signal came
    assert progress["step"] in (2, 3)
    return name


def test_a_process_that_is_told_to_end_ends_all_and_the_rest_is_as_if_undisturbed(
    undisturbed: Workspace, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "another of its processes was told to end, so all did; step [23] is saved"
    name = hit(monkeypatch, workspace, signal.SIGTERM, told)
    learn(workspace, **TWO)
    assert_same(state(workspace, name), state(undisturbed, name))


def test_a_process_that_is_killed_ends_all_and_one_goes_on_alone(
    undisturbed: Workspace, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "process 1 of 2 ended with exit status -9. Run the same command to continue"
    name = hit(monkeypatch, workspace, signal.SIGKILL, told)
    learn(workspace, **{**TWO, "processes": 1})
    assert_close(state(workspace, name), state(undisturbed, name))


def test_a_process_ends_with_the_one_that_started_it(workspace: Workspace, tmp_path: Path) -> None:
    parameters = TrainParameters.model_validate({"workspace": workspace.location, **TRAIN})
    task = Task(
        parameters=parameters, device="cpu", rank=1, size=2, meeting=f"file://{tmp_path}/meeting"
    )
    other = Companion(task)
    other.wait_until_ready()
    other.end()  # it waits for the first, and sees that its input is closed
    assert other.status == 1


def test_processes_that_a_launcher_started(
    undisturbed: Workspace, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in {**told, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    fields = {**TRAIN, "workspace": workspace.location, "threads": 1, "ema_decays": [0.5]}
    words = [word for name, value in fields.items() for word in option_words(name, value)]
    command = [sys.executable, "-m", "flows.cli", "train", *words]
    with subprocess.Popen(command, env={**os.environ, "RANK": "1"}) as other:
        name = learn(workspace, **{**TWO, "processes": 1}).fingerprint
        assert other.wait() == 0
    assert_same(state(workspace, name), state(undisturbed, name))


@pytest.mark.parametrize(
    ("fields", "environ", "message"),
    [
        (
            {"processes": 3},
            {},
            "batch_size 2 can't be shared evenly by 3 processes; take a",
        ),
        (
            {"processes": 64, "batch_size": 64},
            {},
            "processes is 64, and this machine has 4 cores, of which each process needs one; lower",
        ),
        ({"processes": 2, "device": "cuda"}, {}, "processes is 2, and torch finds 0 GPUs here"),
        ({"processes": 2, "device": "cuda:1"}, {}, "device cuda:1 is one GPU, and 2 processes"),
        (
            {"processes": 3},
            {"WORLD_SIZE": "2", "RANK": "0"},
            r"processes is 3, and the launcher started 2 \(WORLD_SIZE\); leave processes out",
        ),
        ({}, {"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2, and WORLD_SIZE 2: ranks go from 0 to 1"),
        ({}, {"WORLD_SIZE": "2", "RANK": "a"}, "RANK is 'a', and a launcher sets it to a number"),
        ({}, {"WORLD_SIZE": "2"}, "RANK is missing; set it, or unset WORLD_SIZE"),
    ],
)
def test_processes_that_can_not_be_are_refused(
    fields: dict[str, Any], environ: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = TrainParameters.model_validate({"batch_size": 2, **fields})
    monkeypatch.setattr(os, "cpu_count", lambda: 4)

    def count() -> int:
        launch = launched({"MASTER_ADDR": "a", "MASTER_PORT": "1", **environ})
        return num_processes(parameters, fields.get("device", "cpu"), launch)

    with pytest.raises(UserError, match=message):
        count()


def test_the_number_of_processes_changes_no_name() -> None:
    assert TrainParameters(processes=2).content() == TrainParameters().content()


def test_other_commands_are_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert main(["run"]) == EXIT_USER_ERROR
    assert (
        "of these (WORLD_SIZE), and run is one; start several of train" in capsys.readouterr().err
    )
