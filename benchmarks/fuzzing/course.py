"""The course of a fuzzing: slices of cases, who dies or hangs of one, and what is kept of it."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fuzzing.watch import Sentinel, listening
from benchmarks.fuzzing.worker import CASE, TARGETS, Outcome, Slice, main

HANG_CPU_S, HANG_S = 120.0, 400.0
"""Seconds of a CPU, and of sleep, after which a case hangs: above all limits of the product. A
process that wants to run and may not, on a machine that has other things to do, does not hang."""

POLL_S = 0.2
SHARES = {"audio": 4, "wav": 4, "forms": 4, "museval": 3, "lists": 3, "parts": 2, "yaml": 2}
"""Of cases in a round; others have one share."""

MOST_KEPT = 40
SLICES_A_PROCESS = 40


@dataclass
class State:
    """What was done so far; kept in a file, so that it can go on.

    Attributes:
        seed: of all cases.
        next_case: number of the next case, by target.
        skip: cases that end a process, by target.
        crashes: cases of which more than one file was lost.
        hangs: that did not end.
        escapes: that got out.
        said: how often each thing was said, by target.
        slowest_s: the longest that a case took, by target.
    """

    seed: int = 0
    next_case: dict[str, int] = field(default_factory=dict)
    skip: dict[str, list[int]] = field(default_factory=dict)
    crashes: int = 0
    hangs: int = 0
    escapes: int = 0
    said: dict[str, dict[str, int]] = field(default_factory=dict)
    slowest_s: dict[str, float] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """How many were tried."""
        return sum(self.next_case.values())


class Course:
    """Runs cases in a process of their own, and knows where it was.

    Args:
        folder: for its state; what is there is gone on with.
        seed: of the cases, where nothing is there.
        targets: names of those to try; all by default.
    """

    def __init__(self, folder: Path, seed: int = 0, targets: Sequence[str] = ()) -> None:
        self._folder = folder
        for name in ("work", "pool", "nowhere", "findings", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._file = folder / "state.json"
        told = json.loads(self._file.read_text()) if self._file.exists() else {"seed": seed}
        self.state = State(**told)
        self.targets = [kind.name for kind in TARGETS if not targets or kind.name in targets]
        self.sentinel = Sentinel(folder / "sentinel")
        os.environ["TMPDIR"] = str(folder / "tmp")
        self._context = multiprocessing.get_context("spawn")
        self._progress: Any = self._context.Value("q", -1)
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._num_slices = 0

    def go_on(self, until: Callable[[State], bool], cases_a_share: int) -> None:
        """Run round after round of all targets, until enough is enough."""
        while True:
            for target in self.targets:
                if until(self.state):
                    return
                self._slice(target, cases_a_share * SHARES.get(target, 1))

    def close(self) -> None:
        """End the process."""
        self._end_process()
        self.sentinel.close()

    def _slice(self, target: str, count: int) -> None:
        state = self.state
        first = state.next_case.get(target, 0)
        skip = frozenset(state.skip.get(target, ()))
        work = Slice(target=target, first=first, count=count, seed=state.seed,
                     tokens=self.sentinel.tokens(), skip=skip)  # fmt: skip
        outcome, problem = self._exchange(work)
        number = self._progress.value
        if outcome is None:
            kind = "hang" if problem.startswith("hang") else "crash"
            self._keep(target, number, kind, problem, (self._folder / CASE).read_bytes())
            state.hangs += kind == "hang"
            state.crashes += kind == "crash"
            # what went before it is run again: nothing is known of it
            state.skip[target] = [*skip, number]
            self._save()
            return
        state.next_case[target] = first + outcome.cases
        for kind, found in (("crash", outcome.crashes), ("escape", outcome.escapes)):
            for at, said, content in found:
                self._keep(target, at, kind, said, content)
        state.crashes += len(outcome.crashes)
        state.escapes += len(outcome.escapes)
        for said in self.sentinel.touched():
            self._keep(
                target, first, "escape", f"{said}; in the {outcome.cases} cases from {first}", b""
            )
            state.escapes += 1
        known = Counter(state.said.get(target, {}))
        known.update(outcome.said)
        state.said[target] = dict(known.most_common())
        state.slowest_s[target] = max(state.slowest_s.get(target, 0.0), round(outcome.slowest_s, 2))
        self._save()

    def _exchange(self, work: Slice) -> tuple[Outcome | None, str]:
        """What became of a slice; or why there is nothing to tell, and the process is gone."""
        if self._num_slices >= SLICES_A_PROCESS:
            self._end_process()
        process, connection = self._started()
        self._num_slices += 1
        connection.send(work)
        at, slept_s, cpu_before = -2, 0.0, 0.0
        while not connection.poll(POLL_S):
            if not process.is_alive():
                self._end_process()
                return None, f"the process ended with {process.exitcode}"
            if self._progress.value != at:
                at, slept_s, cpu_before = self._progress.value, 0.0, _cpu_s(process)
                continue
            slept_s += POLL_S if _sleeps(process) else 0.0
            took_s = _cpu_s(process) - cpu_before
            if slept_s > HANG_S or took_s > HANG_CPU_S:
                self._end_process()
                return None, f"hang: not done after {took_s:.0f} s of a CPU, {slept_s:.0f} s asleep"
        try:
            outcome: Outcome = connection.recv()
        except EOFError:
            process.join()
            self._end_process()
            return None, f"the process ended with {process.exitcode}"
        for said in listening(process.pid or 0):
            outcome.escapes.append((work.first, said, b""))
        return outcome, ""

    def _started(self) -> tuple[BaseProcess, Connection]:
        if self._process is None or self._connection is None:
            ours, theirs = self._context.Pipe()
            arguments = (self._folder, theirs, self._progress)
            self._process = self._context.Process(target=main, args=arguments, daemon=False)
            self._process.start()
            theirs.close()
            self._connection, self._num_slices = ours, 0
        return self._process, self._connection

    def _end_process(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None

    def _keep(self, target: str, number: int, kind: str, said: str, content: bytes) -> None:
        """Write a finding down, with the case, unless there are many already."""
        print(f"{kind}: {target} case {number}: {said.splitlines()[0]}", flush=True)
        folder = self._folder / "findings"
        if len(list(folder.glob(f"{target}-{kind}-*.txt"))) >= MOST_KEPT:
            return
        (folder / f"{target}-{kind}-{number}.bin").write_bytes(content)
        (folder / f"{target}-{kind}-{number}.txt").write_text(said, "utf-8", "replace")

    def _save(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self.state), indent=1))
        new.replace(self._file)


def _sleeps(process: BaseProcess) -> bool:
    """Whether a process and its children all wait for something."""
    try:
        found = psutil.Process(process.pid)
        every = (found, *found.children(recursive=True))
        return all(each.status() == psutil.STATUS_SLEEPING for each in every)
    except psutil.Error:
        return False


def _cpu_s(process: BaseProcess) -> float:
    """CPU time of a process and its children, so far."""
    try:
        found = psutil.Process(process.pid)
        times = [each.cpu_times() for each in (found, *found.children(recursive=True))]
    except psutil.Error:
        return 0.0
    return float(sum(each.user + each.system for each in times))
