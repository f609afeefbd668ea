"""The course of the chaos: an undisturbed run, then faults, each from a whole workspace."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from benchmarks.faults import at_once
from benchmarks.faults.case import Case, after, lay_out, snapshot
from benchmarks.faults.child import forked
from benchmarks.faults.compare import Content, Found, content, differences
from benchmarks.faults.disks import can_mount
from benchmarks.faults.kinds import KINDS, Kind
from benchmarks.faults.music import MUSIC, STAGES, write_music
from benchmarks.faults.server import Server
from benchmarks.faults.stores import Bucket, struck
from storage import workspace
from storage.workspace import Workspace

COUNTED = "puts.json"
ON_DISKS = ("disk_full", "scratch_full")
MOST_LINES = 5


@dataclass
class State:
    """What was done so far.

    Attributes:
        seed: of all faults.
        faults: how many there were.
        kinds: how often there was each kind.
        lost: rows, audio and weights that were gone in the end; and commands that never ended well.
        doubled: that were there more than once.
        different: that were other than in the undisturbed run.
        tracebacks: commands that ended in one, or without a line that says why.
    """

    seed: int = 0
    faults: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    different: int = 0
    tracebacks: int = 0


class Course:
    """Runs faults.

    Args:
        root: folder for all of it; what is there is gone on with.
        seed: of the faults, where nothing is there.
        server: that all commands share.
        quick: leave out the kinds that take long.
        only: names of the kinds to run; all by default.
    """

    def __init__(
        self, root: Path, seed: int, server: Server, *, quick: bool, only: list[str]
    ) -> None:
        self._root, self._server = root, server
        self._file = root / "state.json"
        told = json.loads(self._file.read_text()) if self._file.exists() else {"seed": seed}
        self.state = State(**told)
        mounts = can_mount(root / "disk")
        self._kinds = [
            kind for kind in KINDS
            if (not only or kind.name in only) and not (quick and kind.is_rare)
            and (mounts or kind.name not in ON_DISKS)
        ]  # fmt: skip
        self._bucket = Bucket() if any(kind.in_bucket for kind in self._kinds) else None

    def prepare(self) -> None:
        """Run the chain undisturbed, and keep the workspace as it was before each stage."""
        counted = self._root / "undisturbed" / COUNTED
        if not counted.exists():
            shutil.rmtree(self._root / "undisturbed", ignore_errors=True)
            write_music(self._root)
            work = self._root / "work"
            shutil.rmtree(work, ignore_errors=True)
            forked(lambda: Workspace(str(work), create=True, music=MUSIC).location)
            puts = {}
            for stage in STAGES:
                shutil.copytree(work, snapshot(self._root, stage))
                case = Case(root=self._root, stage=stage, draws=random.Random(0), num_puts=0)
                counter = self._root / "puts.txt"
                ran = case.run(before=partial(_counting, counter))
                if ran.status != 0:
                    raise RuntimeError(f"{stage}: {ran.output}")
                puts[stage] = len(counter.read_text())
                counter.unlink()
            shutil.copytree(work, snapshot(self._root, ""))
            counted.write_text(json.dumps(puts))
        self._puts: dict[str, int] = json.loads(counted.read_text())

    def go_on(self, num_faults: int, until: float) -> None:
        """Fault after fault, until there were enough or the time is up."""
        while self.state.faults < num_faults and time.monotonic() < until:
            self._fault(self.state.faults)

    def close(self) -> None:
        """End what was started."""
        if self._bucket is not None:
            self._bucket.close()

    def _dealt(self, number: int) -> tuple[Kind, str]:
        """Which kind it is this time, and of which stage: all kinds in turn, shuffled."""
        deck = [kind for kind in self._kinds for _ in range(kind.weight)]
        turn, place = divmod(number, len(deck))
        random.Random(f"{self.state.seed} {turn}").shuffle(deck)
        kind = deck[place]
        return kind, random.Random(f"{self.state.seed} stage {number}").choice(list(kind.stages))

    def _fault(self, number: int) -> None:
        kind, stage = self._dealt(number)
        draws = random.Random(f"{self.state.seed} fault {number}")
        case = Case(root=self._root, stage=stage, draws=draws, num_puts=self._puts[stage])
        started = time.monotonic()
        found = self._in_bucket(kind, case) if kind.in_bucket else self._on_disk(kind, case)
        found.lost += case.lost
        state = self.state
        state.faults += 1
        state.kinds[kind.name] = state.kinds.get(kind.name, 0) + 1
        for name in ("lost", "doubled", "different"):
            setattr(state, name, getattr(state, name) + len(getattr(found, name)))
        state.tracebacks += case.unclear
        self._tell(number, kind, case, found, time.monotonic() - started)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(asdict(state), indent=1))
        new.replace(self._file)

    def _on_disk(self, kind: Kind, case: Case) -> Found:
        wanted = self._wanted(case.stage)
        more = kind.strike is at_once.train_while_remix
        if kind.strike is at_once.forget_while_score:
            wanted = at_once.wanted_after_forgetting(case)
        lay_out(case)
        said = kind.strike(case, self._server) if kind.needs_server else kind.strike(case)
        if kind.strike is at_once.two_corpora:
            return Found(doubled=list(said))  # type: ignore[call-overload]
        case.again()
        return forked(lambda: _compared(str(case.workspace), wanted, more))

    def _in_bucket(self, kind: Kind, case: Case) -> Found:
        assert self._bucket is not None
        wanted = self._wanted(case.stage)
        case.location = self._bucket.lay_out(case)
        with self._bucket.standing():
            struck(case, kind.in_bucket)
            case.again()
            return forked(lambda: _compared(case.location, wanted, False))

    @lru_cache(maxsize=16)  # noqa: B019  a course lives as long as the program
    def _wanted(self, stage: str) -> Content:
        place = str(snapshot(self._root, after(stage)))
        return forked(lambda: content(place))

    def _tell(self, number: int, kind: Kind, case: Case, found: Found, took_s: float) -> None:
        wrong = found or case.unclear
        head = (
            f"{number} {kind.name} in {case.stage}, {took_s:.0f} s: {'WRONG' if wrong else 'well'}"
        )
        print(head, flush=True)
        if not wrong:
            return
        with (self._root / "findings.txt").open("a") as file:
            print(head, *case.said, sep="\n  ", file=file)
            for name in ("lost", "doubled", "different"):
                lines = getattr(found, name)
                print(f"  {len(lines)} {name}", *lines[:MOST_LINES], sep="\n    ", file=file)


def _compared(place: str, wanted: Content, more_is_fine: bool) -> Found:
    try:
        return differences(content(place), wanted, more_is_fine=more_is_fine)
    except (ValueError, OSError) as error:
        return Found(lost=[f"can't be read: {error}"])


def _counting(file: Path) -> None:
    """Note each file that this process writes into a workspace."""
    put = workspace._put_local

    def noted(target: Path, write: Callable[[BinaryIO], object]) -> int:
        with file.open("a") as notes:
            notes.write(".")
        return put(target, write)

    workspace._put_local = noted
