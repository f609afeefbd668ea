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

from flows.telling import telling
from flows.terminal import outliving

ARTIFACT_INTERVAL_S = 2.0


class StageProgress:
    """Counts what is done; safe to advance from several threads."""

    def __init__(self, label: str, total: float, bar: Progress) -> None:
        self.label, self.total, self.done = label, total, 0.0
        self._bar = bar
        self._bar_task = bar.add_task(label, total=total)
        self._lock = threading.Lock()
        self._started = self._published = time.monotonic()
        self._artifact: UUID | None = None
        with telling("of the progress"):
            artifact = create_progress_artifact(
                progress=0.0, key=f"{label}-progress", description=f"{label}: 0 of {total:g}"
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
        if self._artifact is None:
            return
        elapsed = time.monotonic() - self._started
        rate = self.done / elapsed if elapsed else 0.0
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate else ""
        with telling("of the progress", retries=0):
            update_progress_artifact(
                artifact_id=self._artifact,
                progress=min(100.0, 100.0 * self.done / self.total) if self.total else 100.0,
                description=f"{self.label}: {self.done:g} of {self.total:g}, {rate:.3g} a second"
                f"{left}{f'; {note}' if note else ''}",
            )

    def finish(self) -> None:
        """Publish the final state."""
        self._publish()


@contextmanager
def progress(label: str, total: float) -> Iterator[StageProgress]:
    """Show progress while the block runs; call ``advance`` on what it yields."""
    columns = (
        TextColumn("[bold]{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=outliving(Console(stderr=True))) as bar:
        state = StageProgress(label, total, bar)
        try:
            yield state
        finally:
            state.finish()
