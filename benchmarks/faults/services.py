"""The standing service on a workspace: its Prefect workers go down while they have a run."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import psutil

from benchmarks.faults.case import Case
from benchmarks.faults.child import forked
from benchmarks.faults.kills import files_to_come, strike, wait_for_files
from benchmarks.faults.music import fields
from benchmarks.soaking.stack import Stack, standing, states, unfinished
from benchmarks.soaking.stages import forget_settings
from flows.server.process import PRIVATE
from flows.service.state import SERVER, ServiceState, service_home

LOST_AFTER = timedelta(seconds=90)
"""Three heartbeats: half of what the service waits, for the sake of time."""

LONGEST_S = 600.0


def prefect_worker_killed(case: Case) -> None:
    """SIGKILL for the Prefect workers while one has a run."""
    _strike_workers(case, signal.SIGKILL)


def prefect_worker_terminated(case: Case) -> None:
    """SIGTERM for them."""
    _strike_workers(case, signal.SIGTERM)


def prefect_worker_stopped(case: Case) -> None:
    """SIGSTOP for them, for a while."""
    _strike_workers(case, signal.SIGSTOP)


def _strike_workers(case: Case, how: signal.Signals) -> None:
    """Strike them once the run has written something; then ``silentmix up``, and the run again."""

    def in_service() -> tuple[list[str], list[str]]:
        forget_settings()
        del os.environ[PRIVATE]
        with standing(case.workspace, lost_after=LOST_AFTER) as stack:
            stack.switch_automations_off()
            wanted = files_to_come(case)
            _run(case, stack)
            wait_for_files(case, wanted, lambda: not unfinished(stack.runs()))
            workers = _workers(case)
            for worker in workers:
                strike(case, worker, how)
            if how != signal.SIGSTOP:
                psutil.wait_procs(workers)  # ``silentmix up`` leaves one that is still there
            case.said.append(f"{how.name} for the workers of {states(stack.runs())}")
            stack.up()
            _run(case, stack)
            stuck = stack.wait_until_idle(LONGEST_S, settled_s=0.0)
            case.said.append(f"in the end: {states(stack.runs())}")
            again = stack.runs()[-1]
            case.lost += [f"a run that never ends: {run.state}" for run in stuck]
            if again.state is None or not again.state.is_completed():
                case.lost.append(f"the run again: {again.state}")
        return case.said, case.lost

    case.said, case.lost = forked(in_service)


def _run(case: Case, stack: Stack) -> None:
    """Have the stage's deployment run."""
    stage, given = fields(case.stage, case.root)
    stack.schedule(stage, given, in_s=0.0)


def _workers(case: Case) -> list[psutil.Process]:
    """The Prefect workers that ``silentmix up`` started."""
    started = ServiceState.read(service_home(str(case.workspace), os.environ)).processes
    found = (own.find() for name, own in started.items() if name != SERVER)
    return [worker for worker in found if worker is not None]
