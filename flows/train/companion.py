"""A process that trains beside the one that started it: how it is started, heard and ended."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

from pydantic import BaseModel, ConfigDict

from flows.train.options import TrainParameters
from storage.errors import UserError

READY = "ready"
"""What it says once it is about to meet the others."""
MODULE = "flows.train.worker"
FINISHES_WITHIN_S = 60.0
ENDS_WITHIN_S = 5.0


class Task(BaseModel):
    """What it is told, in one line of JSON.

    Attributes:
        parameters: of the training.
        device: of this process.
        rank: of this process.
        size: number of processes.
        meeting: where they find each other.
    """

    model_config = ConfigDict(frozen=True)

    parameters: TrainParameters
    device: str
    rank: int
    size: int
    meeting: str


class Companion:
    """The process, as the one sees it that started it.

    It ends when its standard input does, so that it never outlives the other.
    """

    def __init__(self, task: Task) -> None:
        self._name = f"process {task.rank} of {task.size}"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # Ctrl-C is for the first process, which tells the others once all is saved
            process_group=0,
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it ended, as will be told
            self._process.stdin.write(f"{task.model_dump_json()}\n")
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._process.poll()

    def wait_until_ready(self) -> None:
        """Wait until it is about to meet the others.

        Raises:
            UserError: it ended before.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.strip() != READY:
            self._process.wait()
            raise UserError(f"train: {self._ended()}: {line}{self._process.stdout.read()}".strip())

    def last_words(self) -> str:
        """How it ended, and what it said of that; empty if it ended well, or not at all."""
        assert self._process.stdout is not None
        try:
            status = self._process.wait(timeout=ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return ""
        said = self._process.stdout.read().strip()
        return f"{self._ended()}{': ' if said else ''}{said}" if status else ""

    def let_finish(self) -> None:
        """Wait for its end, since it has nothing more to do."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=FINISHES_WITHIN_S)

    def end(self) -> None:
        """End it, if it has not ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ended(self) -> str:
        return f"{self._name} ended with exit status {self._process.returncode}"
