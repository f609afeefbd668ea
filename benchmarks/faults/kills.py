"""Processes that are killed, stopped and started anew, and clocks that are moved."""

from __future__ import annotations

import os
import signal
import time
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
    before = _num_files(case)
    child = case.start(in_process=False)
    deadline = time.monotonic() + MOST_WAIT_S
    wanted = before + case.draws.randint(1, 3)
    while (
        time.monotonic() < deadline and psutil.pid_exists(child.pid) and _num_files(case) < wanted
    ):
        if psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(POLL_S)
    with suppress(psutil.Error):
        for worker in psutil.Process(child.pid).children(recursive=True):
            if "multiprocessing.spawn" in " ".join(worker.cmdline()):
                worker.send_signal(how)
                if how == signal.SIGSTOP:
                    time.sleep(case.draws.uniform(0.1, LONGEST_STOP_S))
                    worker.send_signal(signal.SIGCONT)
    case.note("with workers struck", child.wait())


def _num_files(case: Case) -> int:
    return sum(len(files) for _, _, files in os.walk(case.workspace))


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
