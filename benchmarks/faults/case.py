"""A fault to be: a workspace as it was before a stage, and who may do what to it."""

from __future__ import annotations

import random
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.child import Child, Ran
from benchmarks.faults.music import STAGES, command

MOST_TRIES = 3
EXIT_USER_ERROR = 2


@dataclass
class Case:
    """One fault.

    Attributes:
        root: folder of the music, the undisturbed workspaces and this one.
        stage: during or before which it strikes.
        draws: decides what it is exactly.
        num_puts: how many files the undisturbed stage writes.
        location: of the workspace, where that is not a folder of its own.
        dask_address: of the scheduler at which the stage works; in its own process by default.
        said: what went on, for whoever looks into it.
        unclear: endings in a traceback where a line was promised.
        lost: what hung, or never ended well.
    """

    root: Path
    stage: str
    draws: random.Random
    num_puts: int
    location: str = ""
    dask_address: str = ""
    said: list[str] = field(default_factory=list)
    unclear: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def workspace(self) -> Path:
        """The workspace that is disturbed; at one place always, since runs note where they are."""
        return self.root / "work"

    @property
    def words(self) -> list[str]:
        """The command line of the stage."""
        words = command(self.stage, self.root, self.location or str(self.workspace))
        return [*words, "--dask-address", self.dask_address] if self.dask_address else words

    def start(
        self,
        words: list[str] | None = None,
        *,
        before: Callable[[], object] | None = None,
        in_process: bool = True,
        name: str = "log",
    ) -> Child:
        """Start a command; by default the stage's."""
        log = self.root / f"{name}.txt"
        in_process = in_process and not self.dask_address
        return Child(words or self.words, log, before=before, in_process=in_process)

    def run(
        self,
        words: list[str] | None = None,
        *,
        before: Callable[[], object] | None = None,
        stopped: Callable[[], object] | None = None,
    ) -> Ran:
        """Run a command to its end; by default the stage's."""
        ran = self.start(words, before=before).wait(stopped)
        self.note(" ".join(words or self.words)[:60], ran)
        return ran

    def note(self, what: str, ran: Ran) -> None:
        """Keep what came of a command."""
        self.said.append(f"{what}: {ran.status}: {ran.output.strip()[-600:]}")
        if ran.is_traceback:
            self.unclear += 1
        if ran.is_hung:
            self.lost.append(f"{what} hung")

    def again(self) -> None:
        """Run the stage's command until it ends well."""
        if not any(self.run().status == 0 for _ in range(MOST_TRIES)):
            self.lost.append(f"{self.stage} never ended well")

    def repair(self) -> bool:
        """Let fsck put away what is damaged, and run the commands that it tells."""
        place = ["--workspace", self.location or str(self.workspace)]
        told = self.run(["fsck", "--audio", "--repair", *place])
        commands = [
            shlex.split(line)[2:]
            for line in told.output.splitlines()
            if line.startswith("mend: silentmix ")
        ]
        return all(self.run(words).status == 0 for words in commands)


def snapshot(root: Path, stage: str) -> Path:
    """Where the workspace lies as it was before a stage, or after the last (``""``)."""
    return root / "undisturbed" / (str(STAGES.index(stage)) if stage else str(len(STAGES)))


def after(stage: str) -> str:
    """The stage that comes after another; none after the last."""
    return (*STAGES, "")[STAGES.index(stage) + 1]


def lay_out(case: Case) -> None:
    """Put the workspace there as it was before the stage."""
    shutil.rmtree(case.workspace, ignore_errors=True)
    shutil.copytree(snapshot(case.root, case.stage), case.workspace)
