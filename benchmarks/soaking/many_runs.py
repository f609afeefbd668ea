"""Many runs of a stage in one process, on one Dask worker.

Prefect takes its settings when it is imported, so nothing here imports it before they are made.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults.music import CORPUS, FIELDS
from benchmarks.soaking.stages import with_server

SHARE = 10
"""What a run takes is told of the first and the last of so many parts of the runs."""
MIB = 2**20


def many_runs(workspace: Path, runs: int) -> dict[str, Any]:
    """Extract from a corpus anew, again and again, and tell what it takes.

    Args:
        workspace: one whose music is scored.
        runs: how many.
    """
    found: dict[str, Any] = {}

    def work() -> None:
        from flows.extract.flow import extract
        from flows.extract.options import ExtractParameters
        from flows.running.execution import dask_client
        from flows.running.stage import run_stage

        place = {"workspace": str(workspace), "corpus": CORPUS, "workers": 1, "force": True}
        parameters = ExtractParameters.model_validate({**place, **FIELDS["extract"]})
        walls: list[float] = []
        share = max(1, runs // SHARE)
        with dask_client(parameters) as client:
            # a worker that Dask had to start anew is another process: this one is gone then
            [worker] = client.run(os.getpid).values()
            processes = {"run": psutil.Process(), "worker": psutil.Process(worker)}
            first: dict[str, float] = {}
            last: dict[str, float] = {}
            for number in range(1, runs + 1):
                started = time.monotonic()
                run_stage(extract, parameters)
                walls.append(time.monotonic() - started)
                if number % share == 0 or number == runs:
                    last = _memory(processes)
                    first = first or last
                    print(f"{number} runs, {walls[-1]:.1f} s, {last}", file=sys.stderr, flush=True)
        found.update(
            runs=runs,
            runs_first_s=round(sum(walls[:share]) / share, 2),
            runs_last_s=round(sum(walls[-share:]) / share, 2),
            runs_mib={name: round(held) for name, held in first.items()},
            runs_grown_mib={name: round(last[name] - first[name], 1) for name in first},
        )

    with_server(workspace, work)
    return found


def _memory(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: round(own.memory_info().rss / MIB, 1) for name, own in processes.items()}
