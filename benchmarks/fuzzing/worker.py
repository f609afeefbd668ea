"""The process that gives cases to the product, and may die of one.

It writes each case down before it tries it, so that whoever watches knows which one it was.
"""

from __future__ import annotations

import ctypes
import io
import os
import random
import resource
import sys
import time
import traceback
from ast import literal_eval
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.fuzzing.audio import Audio, CanonicalWav
from benchmarks.fuzzing.requests import Forms, Sql
from benchmarks.fuzzing.tables import Parts
from benchmarks.fuzzing.target import Target, in_short
from benchmarks.fuzzing.texts import Lists, Museval, Yaml
from benchmarks.fuzzing.watch import Offences
from benchmarks.fuzzing.weights import Weights

TARGETS: tuple[type[Target], ...] = (
    Audio, CanonicalWav, Parts, Weights, Yaml, Museval, Lists, Forms, Sql,
)  # fmt: skip
MEMORY_BYTES = 5 * 2**30
"""What a case may make this process take, beside what is there before."""

SLICE_S = 60.0
"""After so long a slice ends where it is, so that little is lost with a process."""

MOST_POOL = 300
CASE = "case.bin"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Some cases of one target.

    Attributes:
        target: its name.
        first: number of the first case.
        count: how many.
        seed: of all.
        tokens: texts that lead to the sentinel.
        skip: cases that killed a process before.
    """

    target: str
    first: int
    count: int
    seed: int
    tokens: Sequence[bytes]
    skip: frozenset[int] = frozenset()


@dataclass
class Outcome:
    """What became of some cases.

    Attributes:
        cases: how many were done.
        crashes: number of the case, what it did, and the case.
        escapes: the same.
        said: how often each thing was said.
        slowest_s: the longest that one took.
    """

    cases: int = 0
    crashes: list[tuple[int, str, bytes]] = field(default_factory=list)
    escapes: list[tuple[int, str, bytes]] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


class Worker:
    """Runs slices.

    Args:
        folder: for the files of the targets and the pools of cases.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._targets: dict[str, Target] = {}
        self._pools: dict[str, list[bytes]] = {}
        self._known: dict[str, set[str]] = {}
        scratch = [str(folder / "work"), os.environ["TMPDIR"], str(folder / "pool")]
        self._offences = Offences(scratch, [sys.executable])
        os.chdir(folder / "nowhere")

    def run(self, work: Slice, progress: ctypes.c_longlong) -> Outcome:
        """Run a slice; tells in ``progress`` which case is next."""
        target, outcome = self._target(work.target), Outcome()
        pool = self._pools[work.target]
        num_seeds = len(target.seeds()) if work.first == 0 else 0
        begun = time.monotonic()
        for number in range(work.first, work.first + work.count):
            if time.monotonic() - begun > SLICE_S:
                break
            draws = random.Random(f"{work.seed} {work.target} {number}")
            if number < num_seeds:
                content = pool[number]
            else:
                content = target.mutated(draws, draws.choice(pool), work.tokens, pool)
            progress.value = number
            outcome.cases += 1
            if number in work.skip:
                outcome.said["ended its process"] += 1
                continue
            (self._folder / CASE).write_bytes(content)
            self._try(target, number, content, draws, outcome)
        progress.value = -1
        return outcome

    def _try(
        self, target: Target, number: int, content: bytes, draws: random.Random, outcome: Outcome
    ) -> None:
        started = time.monotonic()
        self._offences.is_on = True
        try:
            with redirect_stderr(io.StringIO()):
                said = target.run(content, draws)
        except Exception as error:  # noqa: BLE001  whatever it is, it is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {in_short(error)} ({Path(where.filename).name})"
            place = "".join(traceback.format_exception(error))
            outcome.crashes.append((number, f"{said}\n{place[-3000:]}", content))
        finally:
            self._offences.is_on = False
        outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - started)
        outcome.said[said] += 1
        outcome.escapes += [(number, found, content) for found in self._offences.taken()]
        for left in Path().iterdir():
            outcome.escapes.append((number, f"left {left} where it ran", content))
            with suppress(OSError):
                left.unlink()
        self._learn(target.name, said, content)

    def _learn(self, target: str, said: str, content: bytes) -> None:
        """A case that something new was said of is one to make others of."""
        known, pool = self._known[target], self._pools[target]
        if said in known or len(pool) >= MOST_POOL or len(content) > 2**18:
            return
        known.add(said)
        with (self._folder / "pool" / f"{target}.txt").open("a") as file:
            file.write(f"{said!r}\n")
        pool.append(content)
        (self._folder / "pool" / target / f"{len(pool):05}").write_bytes(content)

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            kind = next(kind for kind in TARGETS if kind.name == name)
            target = kind(self._folder / "work" / name)
            learnt = self._folder / "pool" / name
            learnt.mkdir(parents=True, exist_ok=True)
            self._pools[name] = target.seeds() + [
                path.read_bytes() for path in sorted(learnt.iterdir())
            ]
            said = learnt.with_suffix(".txt")
            self._known[name] = set(map(literal_eval, said.open())) if said.exists() else set()
            self._targets[name] = target
        return self._targets[name]


def main(folder: Path, connection: Connection, progress: ctypes.c_longlong) -> None:
    """Run what is asked for, until nothing is."""
    soft = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, soft))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    worker = Worker(folder)
    while True:
        try:
            work = connection.recv()
        except EOFError:
            return
        connection.send(worker.run(work, progress))
