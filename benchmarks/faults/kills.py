"""Processes that are killed, stopped and started anew, and clocks that are moved."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import psutil

from benchmarks.faults.case import Case
from benchmarks.faults.hooks import PLACES, AtPut, clock_moved, kill, kill_decoder_at
from benchmarks.faults.server import Server

LONGEST_STOP_S = 1.5
POLL_S = 0.02
MOST_WAIT_S = 300.0


def _at_some_put(case: Case, place: str, how: signal.Signals) -> None:
    number = case.draws.randrange(case.num_puts)
    case.said.append(f"{how.name} at file {number} of {case.num_puts}, {place}")
    case.run(before=AtPut(number, place, kill(how)))


def killed_before(case: Case) -> None:
    """SIGKILL before a file is written."""
    _at_some_put(case, "before", signal.SIGKILL)


def killed_half_way(case: Case) -> None:
    """SIGKILL in the middle of a file."""
    _at_some_put(case, "half", signal.SIGKILL)


def killed_before_name(case: Case) -> None:
    """SIGKILL once a file is written, before it has its name."""
    _at_some_put(case, "written", signal.SIGKILL)


def killed_after(case: Case) -> None:
    """SIGKILL right after a file."""
    _at_some_put(case, "after", signal.SIGKILL)


def terminated(case: Case) -> None:
    """SIGTERM, as a machine sends it that goes down."""
    _at_some_put(case, case.draws.choice(PLACES), signal.SIGTERM)


def interrupted(case: Case) -> None:
    """SIGINT: somebody's Ctrl-C."""
    _at_some_put(case, case.draws.choice(PLACES), signal.SIGINT)


def killed_twice(case: Case) -> None:
    """SIGKILL, and once more while it continues."""
    for _ in range(2):
        _at_some_put(case, case.draws.choice(PLACES), signal.SIGKILL)


def stopped(case: Case) -> None:
    """SIGSTOP for a while, as a laptop that sleeps."""
    number = case.draws.randrange(case.num_puts)
    pause_s = case.draws.uniform(0.1, LONGEST_STOP_S)
    case.run(
        before=AtPut(number, case.draws.choice(PLACES), kill(signal.SIGSTOP)),
        stopped=lambda: time.sleep(pause_s),
    )


def decoder_killed(case: Case) -> None:
    """SIGKILL for the process that decodes."""
    case.run(before=kill_decoder_at(case.draws.randrange(5)))


def server_killed(case: Case, server: Server) -> None:
    """SIGKILL for the Prefect server in the middle of a stage; it is started anew after it."""
    number = case.draws.randrange(case.num_puts)
    case.run(before=AtPut(number, "after", kill(signal.SIGSTOP)), stopped=server.kill)
    server.start()


def server_restarted(case: Case, server: Server) -> None:
    """The Prefect server is killed and started anew while a stage works."""

    def anew() -> None:
        server.kill()
        server.start()

    number = case.draws.randrange(case.num_puts)
    case.run(before=AtPut(number, "after", kill(signal.SIGSTOP)), stopped=anew)


def dask_worker_killed(case: Case) -> None:
    """SIGKILL for a Dask worker, which is a process of its own here."""
    _strike_workers(case, signal.SIGKILL)


def dask_worker_stopped(case: Case) -> None:
    """SIGSTOP for a Dask worker for a while."""
    _strike_workers(case, signal.SIGSTOP)


def _strike_workers(case: Case, how: signal.Signals) -> None:
    """Strike the Dask workers once the stage has written something."""
    wanted = files_to_come(case)
    child = case.start(in_process=False)
    wait_for_files(case, wanted, child.has_ended)
    with suppress(psutil.Error):
        for worker in psutil.Process(child.pid).children(recursive=True):
            if "multiprocessing.spawn" in " ".join(worker.cmdline()):
                strike(case, worker, how)
    case.note("with workers struck", child.wait())


def strike(
    case: Case, process: psutil.Process | subprocess.Popen[bytes], how: signal.Signals
) -> None:
    """Send a process a signal; one that stops it lasts for a while."""
    process.send_signal(how)
    if how == signal.SIGSTOP:
        time.sleep(case.draws.uniform(0.1, LONGEST_STOP_S))
        process.send_signal(signal.SIGCONT)


def files_to_come(case: Case) -> int:
    """How many files there will be when something strikes that is not the command itself."""
    return _num_files(case) + case.draws.randint(1, 3)


def wait_for_files(case: Case, wanted: int, has_ended: Callable[[], bool]) -> None:
    """Wait until there are so many files, or what writes them has ended."""
    deadline = time.monotonic() + MOST_WAIT_S
    while time.monotonic() < deadline and not has_ended() and _num_files(case) < wanted:
        time.sleep(POLL_S)


def _num_files(case: Case) -> int:
    """Files of the workspace, but for those of a service on it."""
    return sum(
        len(files) for folder, _, files in os.walk(case.workspace) if ".prefect" not in folder
    )


def clock_back(case: Case) -> None:
    """The clock stands two days back while the stage runs, which is killed then."""
    _with_clock(case, timedelta(days=-2))


def clock_ahead(case: Case) -> None:
    """The clock stands two days ahead while the stage runs, which is killed then."""
    _with_clock(case, timedelta(days=2))


def _with_clock(case: Case, by: timedelta) -> None:
    at = AtPut(case.draws.randrange(case.num_puts), "after", kill(signal.SIGKILL))

    def arrange() -> None:
        clock_moved(by)()
        at()

    case.run(before=arrange)
