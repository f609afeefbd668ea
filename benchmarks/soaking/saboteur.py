"""Kills processes of a standing service outright, in an order that a seed decides."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

SERVER, WORKER, FLOW_RUN, DASK_WORKER = "server", "prefect-worker", "flow-run", "dask-worker"
MACHINE = "machine"
"""All at once, but for the server: as if it had been on another machine."""

DECK = {DASK_WORKER: 4, FLOW_RUN: 4, WORKER: 2, SERVER: 1, MACHINE: 1}
"""How often each is killed before all begins anew."""

_COMMANDS = {
    SERVER: "flows.server",
    WORKER: "prefect worker start",
    FLOW_RUN: "prefect.engine",
    DASK_WORKER: "multiprocessing.spawn",
}


class Saboteur:
    """Strikes now and then.

    Args:
        home: the folder of the service's database: who has it in the environment is of the service.
        mend: what somebody does who finds the service down: ``silentmix up``.
        seed: decides who is killed, and after how long.
        pause_s: least and most seconds between two kills.
    """

    def __init__(
        self, home: Path, mend: Callable[[], object], seed: int, pause_s: tuple[float, float]
    ) -> None:
        self._home, self._mend, self._pause_s = home, mend, pause_s
        self._random = random.Random(seed)
        self._deck: list[str] = []
        self._next = time.monotonic() + self._random.uniform(*pause_s)
        self.kills: Counter[str] = Counter()

    def strike(self) -> str:
        """Kill what is next, if it is time and there is such a process.

        Returns:
            What was killed, or empty.
        """
        if time.monotonic() < self._next:
            return ""
        if not self._deck:
            self._deck = [kind for kind, count in DECK.items() for _ in range(count)]
            self._random.shuffle(self._deck)
        kind = self._deck[-1]
        victims = self._victims(kind)
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
        self._next = time.monotonic() + self._random.uniform(*self._pause_s)
        return kind

    def _victims(self, kind: str) -> list[psutil.Process]:
        processes = dict(self.processes())
        if kind != MACHINE:
            of_kind = sorted(
                (each for each, found in processes.items() if found == kind),
                key=lambda process: process.pid,
            )
            return [self._random.choice(of_kind)] if of_kind else []
        if FLOW_RUN not in processes.values():
            return []  # a machine with nothing to lose
        # workers first, lest they see their runs die and tell of it
        return sorted(
            (each for each, found in processes.items() if found != SERVER),
            key=lambda process: processes[process] != WORKER,
        )

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
