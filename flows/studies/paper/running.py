"""Trainings side by side: each in a process of its own, one a core or a GPU, killable at any time.

A training keeps checkpoints, and is found again by its fingerprint; so nothing here is kept on
disk but the lock that keeps two studies off one workspace.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

import torch

from flows.evaluate.flow import evaluate
from flows.evaluate.options import EvaluateParameters
from flows.running.execution import dask_client
from flows.server.process import PRIVATE
from flows.studies.paper.trainings import State, Training
from flows.train.flow import train
from flows.train.options import TrainParameters
from storage.errors import UserError

LOCK = ".study-paper.lock"
LOGS = "study-logs"


@dataclass(frozen=True)
class Work:
    """What a process is told."""

    train: TrainParameters
    evaluate: EvaluateParameters | None
    log: Path


@dataclass(frozen=True)
class Slot:
    """A process that is at work."""

    training: Training
    process: SpawnProcess
    answer: Connection
    gpu: int


@contextmanager
def only_study(root: Path) -> Iterator[None]:
    """Be the only study that trains in a workspace.

    Raises:
        UserError: another one does.
    """
    with (root / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"--workspace {root}: a study is at work in it already; wait for it, stop it, or "
                "write the page of what there is with --no-train"
            ) from error
        yield


def how_many(processes: int, device: str) -> int:
    """How many trainings to run side by side: as asked, or one a GPU, or one a core."""
    if processes:
        return processes
    return torch.cuda.device_count() if device == "cuda" else os.cpu_count() or 1


def run_side_by_side(
    trainings: Sequence[Training],
    state_of: Callable[[Training], State],
    *,
    num_processes: int,
    device: str,
    logs: Path,
    on_end: Callable[[Training, str], None],
) -> None:
    """Run what is not done, in its order, so many at once.

    One at a time needs no process of its own.

    Args:
        trainings: all of them.
        state_of: says what has come of one.
        num_processes: how many at once.
        device: ``cpu``, or ``cuda`` for all GPUs in turn.
        logs: folder for what the processes print.
        on_end: told of each that ended, and of the problem if it failed.
    """
    if num_processes == 1:
        for training in trainings:
            state = state_of(training)
            if not state.done:
                on_end(training, state.problem or do(_work(training, state, device, logs)))
        return
    waiting, running, ended = list(trainings), list[Slot](), list[tuple[Training, str]]()
    logs.mkdir(parents=True, exist_ok=True)
    try:
        while waiting or running or ended:
            while waiting and len(running) < num_processes:
                training = waiting.pop(0)
                state = state_of(training)
                if state.done:
                    continue
                if state.train is None:
                    ended.append((training, state.problem))
                    continue
                running.append(_begin(training, state, running, device, logs))
            while ended:  # told once the next ones are at work
                on_end(*ended.pop(0))
            ready = wait([slot.answer for slot in running]) if running else []
            for slot in [slot for slot in running if slot.answer in ready]:
                running.remove(slot)
                ended.append((slot.training, _end(slot)))
    finally:
        for slot in running:
            slot.process.terminate()  # it keeps a checkpoint, and ends
        for slot in running:
            slot.process.join()


def _begin(
    training: Training, state: State, running: Sequence[Slot], device: str, logs: Path
) -> Slot:
    taken = {slot.gpu for slot in running}
    gpu = next(number for number in range(len(taken) + 1) if number not in taken)
    if device == "cuda":
        gpu %= max(1, torch.cuda.device_count())
        device = f"cuda:{gpu}"
    work = _work(training, state, device, logs)
    context = get_context("spawn")
    answer, theirs = context.Pipe(duplex=False)
    process = context.Process(target=train_and_evaluate, args=(work, theirs))
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return Slot(training, process, answer, gpu)


def _work(training: Training, state: State, device: str, logs: Path) -> Work:
    assert state.train is not None
    update = {"device": device}
    return Work(
        train=state.train.model_copy(update=update),
        evaluate=state.evaluate and state.evaluate.model_copy(update=update),
        log=logs / f"arm-{training.arm.key}-seed-{training.seed}.log",
    )


def _end(slot: Slot) -> str:
    """Why a process failed, or empty."""
    try:
        problem: str = slot.answer.recv()
    except EOFError:
        slot.process.join()
        problem = f"its process ended with {slot.process.exitcode}"
    slot.process.join()
    return problem


def train_and_evaluate(work: Work, answer: Connection) -> None:
    """Do it in a process of its own, and answer why it failed, or nothing."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _interrupt)
    log = work.log.open("a", buffering=1, encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log.fileno(), stream.fileno())
    try:
        answer.send(do(work))
    except KeyboardInterrupt:
        answer.send("interrupted")


def do(work: Work) -> str:
    """Train one model and score the test songs; returns why that failed, or nothing."""
    # the study begins no training twice, so none need wait for another of the same corpus
    os.environ[PRIVATE] = "1"
    try:
        train(work.train)
        if work.evaluate is not None:
            with dask_client(work.evaluate, in_process=True):
                evaluate(work.evaluate)
    except (UserError, ValueError, OSError, ArithmeticError) as error:
        return str(error)
    return ""


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """End when the study was killed: it would begin this training again beside us."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
