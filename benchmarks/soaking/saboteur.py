"""Kills processes of a standing service outright, in an order that a seed decides."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

SERVER, WORKER, FLOW_RUN, DASK_WORKER = "server", "prefect-worker", "flow-run", "dask-worker"
MACHINE = "machine"
"""All at once, but for the server: as if it had been on another machine."""

DECK = (
    *3 * ((DASK_WORKER, True),), (DASK_WORKER, False),
    *2 * ((FLOW_RUN, True),), *2 * ((FLOW_RUN, False),),
    (WORKER, True), (WORKER, False), (SERVER, True), (MACHINE, True),
)  # fmt: skip
"""Who is killed before all begins anew, and whether in the middle of a run's work or at any time:
with short tracks a run is mostly its start."""

RUNS_BETWEEN = (1, 3)
"""Least and most runs that end between two kills, so that a slow machine has no more of them."""

DELAY_S = 5.0
"""Most seconds to wait then."""

_COMMANDS = {
    SERVER: "flows.server.process",
    WORKER: "prefect worker start",
    FLOW_RUN: "prefect.engine",
    DASK_WORKER: "multiprocessing.spawn",
}


class Saboteur:
    """Strikes now and then.

    Args:
        home: the folder of the service's database: who has it in the environment is of the service.
        mend: what somebody does who finds the service down: ``silentmix up``.
        seed: decides who is killed, and when.
    """

    def __init__(self, home: Path, mend: Callable[[], object], seed: int) -> None:
        self._home, self._mend = home, mend
        self._random = random.Random(seed)
        self._deck: list[tuple[str, bool]] = []
        self._next_after = 0
        self._not_before = 0.0
        self.kills: Counter[str] = Counter()

    def strike(self, num_ended: int) -> str:
        """Kill what is next, if it is time and there is such a process.

        Args:
            num_ended: runs that have ended so far, however they did.

        Returns:
            What was killed, or empty.
        """
        if num_ended < self._next_after:
            return ""
        if not self._not_before:
            self._not_before = time.monotonic() + self._random.uniform(0, DELAY_S)
        if time.monotonic() < self._not_before:
            return ""
        if not self._deck:
            self._deck = self._random.sample(DECK, len(DECK))
        kind, at_work = self._deck[-1]
        victims = self._victims(kind, at_work)
        if not victims:
            return ""
        self._deck.pop()
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        psutil.wait_procs(victims, timeout=10)
        self.kills[kind] += 1
        if kind in (SERVER, WORKER, MACHINE):
            self._mend()
        self._next_after = num_ended + self._random.randint(*RUNS_BETWEEN)
        self._not_before = 0.0
        return kind

    def _victims(self, kind: str, at_work: bool) -> list[psutil.Process]:
        processes = dict(self.processes())
        if at_work:
            busy = [each for each in _of(processes, DASK_WORKER) if _connected(each)]
            if not busy:
                return []
            if kind == DASK_WORKER:
                return [self._random.choice(busy)]
        if kind == MACHINE:
            # workers first, lest they see their runs die and tell of it
            return [
                victim
                for each in (WORKER, FLOW_RUN, DASK_WORKER)
                for victim in _of(processes, each)
            ]
        found = _of(processes, kind)
        return [self._random.choice(found)] if found else []

    def processes(self) -> Iterator[tuple[psutil.Process, str]]:
        """Every process of the service, and what it is."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("PREFECT_HOME") != str(self._home):
                    continue
                command = " ".join(process.cmdline())
                for kind, mark in _COMMANDS.items():
                    if mark in command:
                        yield process, kind


def _of(processes: Mapping[psutil.Process, str], kind: str) -> list[psutil.Process]:
    return [each for each, found in processes.items() if found == kind]


def _connected(dask_worker: psutil.Process) -> bool:
    """Whether a Dask worker has started and found its scheduler."""
    with suppress(psutil.Error):
        connections = dask_worker.net_connections("tcp")
        return any(each.status == psutil.CONN_ESTABLISHED for each in connections)
    return False
