"""Progress of long work: a bar in the terminal, and a progress artifact in the Prefect UI."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from flows.reports.durations import spell
from flows.running.terminal import quiet_on_broken_pipe
from flows.running.under_way import current
from flows.server.best_effort import best_effort

ARTIFACT_INTERVAL_S = 2.0


class StageProgress:
    """Counts what is done; safe to advance from several threads."""

    def __init__(self, label: str, total: float, unit: str, done: float, bar: Progress) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._done_before = done
        self._bar = bar
        self._bar_task = bar.add_task(label, total=total, completed=int(done))
        self._lock = threading.Lock()
        self._started = self._published = time.monotonic()
        self._artifact: UUID | None = None
        self._note = current()
        with best_effort("of the progress"):
            artifact = create_progress_artifact(
                progress=self._percent(),
                key=f"{label}-progress",
                description=f"{label}: {done:g} of {total:g} {unit}",
            )
            assert isinstance(artifact, UUID)  # a coroutine in an asynchronous flow alone
            self._artifact = artifact

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Count ``amount`` more as done, and show it at most every two seconds."""
        with self._lock:
            self.done += amount
            description = f"{self.label} {note}".strip()
            self._bar.update(self._bar_task, advance=amount, description=description)
            now = time.monotonic()
            publish = now - self._published >= ARTIFACT_INTERVAL_S
            if publish:
                self._published = now
        if publish:
            self._publish(note)

    def _publish(self, note: str = "") -> None:
        told = f"{self.done:g} of {self.total:g} {self.unit}{self._pace()}"
        if self._note is not None:
            self._note.tell(told)
        if self._artifact is None:
            return
        with best_effort("of the progress", retries=0):
            update_progress_artifact(
                artifact_id=self._artifact,
                progress=self._percent(),
                description=f"{self.label}: {told}{f'; {note}' if note else ''}",
            )

    def _percent(self) -> float:
        return min(100.0, 100.0 * self.done / self.total) if self.total else 100.0

    def _pace(self) -> str:
        """How fast it goes in this run, and how much longer; or how long it took."""
        elapsed = time.monotonic() - self._started
        if self.done >= self.total:
            return f" in {spell(elapsed)}"
        rate = (self.done - self._done_before) / elapsed if elapsed else 0.0
        if not rate:
            return ""
        return f", {rate:.3g} a second, {spell((self.total - self.done) / rate)} left"

    def finish(self) -> None:
        """Publish the final state."""
        self._publish()


@contextmanager
def progress(label: str, total: float, unit: str, *, done: float = 0.0) -> Iterator[StageProgress]:
    """Show progress while the block runs; call ``advance`` on what it yields.

    Args:
        label: what is going on.
        total: how much there is to do.
        unit: of what.
        done: how much of it an earlier run did.
    """
    columns = (
        TextColumn("[bold]{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=quiet_on_broken_pipe(Console(stderr=True))) as bar:
        state = StageProgress(label, total, unit, done, bar)
        try:
            yield state
        finally:
            state.finish()
