"""A Dask cluster of one's own: commands that are pointed at it, and whose scheduler goes down."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.faults.case import Case
from benchmarks.faults.kills import files_to_come, strike, wait_for_files
from benchmarks.faults.server import POLL_S, free_port

HOST = "127.0.0.1"


class Cluster:
    """A scheduler on one port for good and workers, each a process as ``dask`` starts it.

    Args:
        log: file for what they say.
        num_workers: how many.

    Attributes:
        workers: all that were started; each leads a process group.
    """

    def __init__(self, log: Path, num_workers: int = 1) -> None:
        self._log, self._port, self._num_workers = log, free_port(), num_workers
        self.workers: list[subprocess.Popen[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = f"tcp://{HOST}:{self._port}"
        self.start()

    def start(self) -> None:
        """Start them, and wait until the scheduler answers."""
        self.scheduler = self._dask("scheduler", "--port", str(self._port))
        while not self._answers():
            time.sleep(POLL_S)
        for _ in range(self._num_workers):
            self.workers.append(self._dask("worker", self.address, "--nthreads", "1"))

    def close(self) -> None:
        """Kill all there ever were, with what they started."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _dask(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *words, "--host", HOST, "--no-dashboard"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        if status := self.scheduler.poll():
            raise RuntimeError(f"the Dask scheduler ended with {status}; see {self._log}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self._port)) == 0


def dask_scheduler_killed(case: Case) -> None:
    """SIGKILL for the scheduler at which a stage works; then it is started again."""
    _strike_scheduler(case, signal.SIGKILL)


def dask_scheduler_terminated(case: Case) -> None:
    """SIGTERM for it; then it is started again."""
    _strike_scheduler(case, signal.SIGTERM)


def dask_scheduler_restarted(case: Case) -> None:
    """SIGKILL for it, and it is started again while the stage looks for it."""
    _strike_scheduler(case, signal.SIGKILL, at_once=True)


def dask_scheduler_stopped(case: Case) -> None:
    """SIGSTOP for it, for a while."""
    _strike_scheduler(case, signal.SIGSTOP)


def _strike_scheduler(case: Case, how: signal.Signals, *, at_once: bool = False) -> None:
    """Strike it once the stage has written something, and run the stage there again."""
    cluster = Cluster(case.root / "cluster.txt")
    case.dask_address = cluster.address
    try:
        wanted = files_to_come(case)
        child = case.start()
        wait_for_files(case, wanted, child.has_ended)
        strike(case, cluster.scheduler, how)
        is_gone = how != signal.SIGSTOP
        if is_gone:
            cluster.scheduler.wait()
        if at_once:
            cluster.start()
        case.note(f"with its scheduler struck by {how.name}", child.wait())
        if is_gone and not at_once:
            cluster.start()
        case.again()
    finally:
        cluster.close()
        case.dask_address = ""
