"""Trainings side by side: each in a process of its own, one a core or a GPU, killable at any time.

A training keeps checkpoints, and is found again by its fingerprint: nothing more is kept on disk.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

import torch

from flows.evaluate.flow import evaluate
from flows.evaluate.options import EvaluateParameters
from flows.pseudo_label.flow import pseudo_label
from flows.pseudo_label.options import PseudoLabelParameters
from flows.running.devices import num_loaders
from flows.running.execution import dask_client
from flows.running.stage_result import StageResult
from flows.server.process import PRIVATE
from flows.train.flow import train
from flows.train.options import TrainParameters
from storage.errors import UserError

LOGS = "study-logs"
ON_WAIT_EVERY_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model to train, and to score on the test songs.

    Attributes:
        label: what a person calls it.
        log: name of the file for what its process prints.
        train: what the stage ``train`` is told.
        evaluate: what the stage ``evaluate`` is told, but for the model, which may not be known
            before it is trained; None of a model that is not evaluated.
        labels: what the stage ``pseudo-label`` is told before, where the model learns from such.
    """

    label: str
    log: str
    train: TrainParameters
    evaluate: EvaluateParameters | None
    labels: PseudoLabelParameters | None = None

    def on(self, device: str, num_processes: int) -> Job:
        """The same on another device, with a share of this machine's cores."""
        told = {"device": device}
        evaluate = self.evaluate and self.evaluate.model_copy(update=told)
        labels = self.labels and self.labels.model_copy(update=told)
        spare = max(0, (os.cpu_count() or 1) // num_processes - 1)
        loaders = num_loaders(device, spare)
        train = self.train.model_copy(update={**told, "loader_workers": loaders})
        return replace(self, train=train, evaluate=evaluate, labels=labels)


@dataclass(frozen=True)
class Slot:
    """A process that is at work."""

    job: Job
    process: SpawnProcess
    answer: Connection
    gpu: int


def how_many(processes: int, device: str) -> int:
    """How many trainings to run side by side: as asked, or one a GPU, or one a core.

    >>> how_many(0, "cuda:1")
    1
    """
    if processes:
        return processes
    if device == "cuda":
        return torch.cuda.device_count()
    return (os.cpu_count() or 1) if device == "cpu" else 1


def planned(training: TrainParameters) -> StageResult:
    """What a training will be called, and whether it is done."""
    return train.fn(training.model_copy(update={"dry_run": True}))


def run_side_by_side(
    jobs: Iterable[Job | None],
    *,
    num_processes: int,
    device: str,
    logs: Path,
    on_end: Callable[[Job, str], None],
    on_wait: Callable[[], None] = lambda: None,
) -> None:
    """Run jobs in their order, so many at once; each is asked for when there is room for it.

    What ``jobs`` does until it gives the next one is done in this process, beside those at work,
    and takes the room of one. One at a time needs no process of its own.

    Args:
        jobs: all of them; None where the next one has to wait until another has ended.
        num_processes: how many at once.
        device: ``cpu``, ``cuda`` for all GPUs in turn, or one GPU for all jobs.
        logs: folder for what the processes print.
        on_end: told of each that ended, and of the problem if it failed.
        on_wait: called now and then while there is nothing to do but to wait for one of several.
    """
    if num_processes == 1:
        for job in jobs:
            assert job is not None, "nothing else is at work"
            on_end(job, do(job.on(device, 1)))
        return
    waiting, running, ended = iter(jobs), list[Slot](), list[tuple[Job, str]]()
    logs.mkdir(parents=True, exist_ok=True)
    try:
        while True:
            for job in islice(waiting, num_processes - len(running)):
                if job is None:
                    break
                running.append(_begin(job, running, device, num_processes, logs))
            if ended:  # told once the next ones are at work; others may have waited for it
                while ended:
                    on_end(*ended.pop(0))
                continue
            if not running:
                return
            while not (ready := wait([slot.answer for slot in running], ON_WAIT_EVERY_S)):
                on_wait()
            for slot in [slot for slot in running if slot.answer in ready]:
                running.remove(slot)
                ended.append((slot.job, _end(slot)))
    finally:
        for slot in running:
            slot.process.terminate()  # it keeps a checkpoint, and ends
        for slot in running:
            slot.process.join()


def _begin(job: Job, running: Sequence[Slot], device: str, num_processes: int, logs: Path) -> Slot:
    taken = {slot.gpu for slot in running}
    gpu = next(number for number in range(len(taken) + 1) if number not in taken)
    if device == "cuda":
        gpu %= max(1, torch.cuda.device_count())
        device = f"cuda:{gpu}"
    context = get_context("spawn")
    answer, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=train_and_evaluate, args=(job.on(device, num_processes), logs / job.log, theirs)
    )
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return Slot(job, process, answer, gpu)


def _end(slot: Slot) -> str:
    """Why a process failed, or empty."""
    try:
        problem: str = slot.answer.recv()
    except EOFError:
        slot.process.join()
        problem = f"its process ended with {slot.process.exitcode}"
    slot.process.join()
    return problem


def train_and_evaluate(job: Job, log: Path, answer: Connection) -> None:
    """Do it in a process of its own, and answer why it failed, or nothing."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _interrupt)
    file = log.open("a", buffering=1, encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file.fileno(), stream.fileno())
    try:
        answer.send(do(job))
    except KeyboardInterrupt:
        answer.send("interrupted")


def do(job: Job) -> str:
    """Train one model and score the test songs; returns why that failed, or nothing."""
    # the study begins no training twice, so none need wait for another of the same corpus
    os.environ[PRIVATE] = "1"
    try:
        if job.labels is not None:
            with dask_client(job.labels, in_process=True):
                pseudo_label(job.labels)
        made = train(job.train)
        if job.evaluate is not None:
            with dask_client(job.evaluate, in_process=True):
                evaluate(job.evaluate.model_copy(update={"models": [made.fingerprint]}))
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
