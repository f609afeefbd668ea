"""Processes that outlive the command that started them, and are found again by their identity.

A process id alone is reused. A process is ours only if its start time and its command line are
still those that were noted when it was started; whatever else has the id is left alone.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from flows.server.login import PRIVATE_FILE
from flows.server.noted_process import noted_process

LOG_LIMIT_BYTES = 10 * 2**20
LOG_TAIL_BYTES = 500


class OwnProcess(BaseModel):
    """A process that was started here, and how to tell it from another with the same id."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started_at: float
    command: tuple[str, ...]
    log: str
    log_start_byte: int = 0  # what is before is of the one that ran before it

    def find(self) -> psutil.Process | None:
        """The process, or None if it has ended."""
        found = noted_process(self.pid, self.started_at)
        try:
            return found if found is not None and tuple(found.cmdline()) == self.command else None
        except psutil.Error:
            return None

    def log_tail(self) -> str:
        """The end of what it logged, on one line."""
        try:
            text = Path(self.log).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""
        return " ".join(text.split())


def start(command: Sequence[str], environ: Mapping[str, str], log: Path, cwd: Path) -> OwnProcess:
    """Start a process in a session of its own, so that neither Ctrl-C nor a logout ends it.

    Args:
        command: program and arguments.
        environ: its environment.
        log: file that what it prints is appended to; one that has grown large begins anew, beside
            the last one.
        cwd: its working directory.
    """
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    log.touch(PRIVATE_FILE)
    with log.open("ab") as output:
        log_start_byte = output.tell()
        process = subprocess.Popen(
            command,
            env=environ,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    found = psutil.Process(process.pid)
    with suppress(psutil.Error):  # it may have ended already
        while not found.cmdline():  # it is about to have one
            time.sleep(0.001)
    return OwnProcess(
        pid=process.pid,
        started_at=found.create_time(),
        command=tuple(command),
        log=str(log),
        log_start_byte=log_start_byte,
    )


def stop(
    processes: Iterable[OwnProcess], patience_s: float, lost: Sequence[psutil.Process] = ()
) -> None:
    """End processes and all that they started.

    What a process started is asked to end before it is: a run tells the server how it ended, and
    its worker is there to see it. What has not ended after ``patience_s`` is killed.

    Args:
        processes: what to end.
        patience_s: how long each may take.
        lost: what such processes had started when they were killed themselves.
    """
    found = [process for own in processes if (process := own.find()) is not None]
    family = {child for process in found for child in _children(process, recursive=True)}
    started = {child for process in found for child in _children(process)}
    started.update(process for process in lost if process not in {*family, *found})
    _terminate(started, patience_s)
    _terminate(found, patience_s)
    alive = [process for process in {*found, *family, *lost} if process.is_running()]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=patience_s)


def with_variable(name: str, value: str) -> list[psutil.Process]:
    """The processes of this user that began with a variable in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(name) == value:
                found.append(process)
    return found


def _terminate(processes: Collection[psutil.Process], patience_s: float) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(processes, timeout=patience_s)


def _children(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=recursive))
    except psutil.NoSuchProcess:
        return []
