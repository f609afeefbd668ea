"""What works in a workspace at the moment: a note of each run, which ``silentmix status`` reads.

It is a file, so that it is found whichever Prefect server a run is recorded by, or none any more.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import psutil

from flows.server.noted_process import noted_process
from storage.damage import DamagedError
from storage.workspace import Workspace

FOLDER = "running"
INTERVAL_S = 5.0
INTERVAL_IN_BUCKET_S = 60.0

FORGOTTEN_AFTER = timedelta(days=1)
"""How long a run on another machine may say nothing and still be told of."""

COMPACTION_GONE_AFTER = timedelta(minutes=10)
"""The same of a compaction, for which others wait."""


@dataclass(frozen=True)
class UnderWay:
    """A run that works.

    Attributes:
        stage: what it does.
        corpus: on what.
        fingerprint: of what it makes.
        started_at: when it began, in ISO 8601, as ``told_at``.
        told_at: when it last said how far it is.
        progress: how far that was; empty before it knows.
        host: the machine it runs on.
        pid: its process there.
        process_started_at: when that began, in seconds since 1970.
        table: whose parts it joins; empty for all but a compaction.
    """

    stage: str
    corpus: str
    fingerprint: str
    started_at: str
    told_at: str
    progress: str
    host: str
    pid: int
    process_started_at: float
    table: str = ""

    def may_work(self) -> bool:
        """Whether its process is there; of one on another machine, whether it said so of late."""
        if self.host != socket.gethostname():
            limit = COMPACTION_GONE_AFTER if self.table else FORGOTTEN_AFTER
            return self.silent_for() < limit
        return noted_process(self.pid, self.process_started_at) is not None

    def silent_for(self) -> timedelta:
        """How long ago it last said how far it is."""
        return datetime.now(UTC) - datetime.fromisoformat(self.told_at)


def new_run_id(stage: str) -> str:
    """A name for a run that no other has."""
    return f"{stage}-{uuid.uuid4().hex[:12]}"


class Note:
    """The note of a run, which is written anew as it goes on.

    Attributes:
        path: where it is, relative to the workspace.
        told: what it says.
    """

    def __init__(
        self,
        workspace: Workspace,
        run_id: str,
        stage: str,
        corpus: str,
        fingerprint: str,
        table: str = "",
    ) -> None:
        self._workspace = workspace
        self.path = f"{FOLDER}/{run_id}.json"
        self._interval_s = INTERVAL_S if workspace.is_local else INTERVAL_IN_BUCKET_S
        began_at, pid = _now(), os.getpid()
        self.told = UnderWay(
            stage=stage,
            corpus=corpus,
            fingerprint=fingerprint,
            started_at=began_at,
            told_at=began_at,
            progress="",
            host=socket.gethostname(),
            pid=pid,
            process_started_at=psutil.Process(pid).create_time(),
            table=table,
        )
        self._write()

    def tell(self, progress: str) -> None:
        """Say how far it is; unless something was said a moment ago."""
        if time.monotonic() - self._written_s >= self._interval_s:
            self.told = replace(self.told, progress=progress, told_at=_now())
            self._write()

    def remove(self) -> None:
        """Take it away: the run is over."""
        with suppress(OSError):
            self._workspace.remove(self.path)

    def _write(self) -> None:
        self._written_s = time.monotonic()
        with suppress(OSError):  # the work does not end where nobody can be told of it
            self._workspace.put_json(self.path, asdict(self.told))


_current: ContextVar[Note | None] = ContextVar("_current", default=None)


@contextmanager
def under_way(
    workspace: Workspace, run_id: str, stage: str, corpus: str, fingerprint: str
) -> Iterator[None]:
    """Have ``status`` tell of a run while the block works."""
    _sweep(workspace)
    note = Note(workspace, run_id, stage, corpus, fingerprint)
    token = _current.set(note)
    try:
        yield
    finally:
        _current.reset(token)
        note.remove()


def current() -> Note | None:
    """The note of the run that this is part of."""
    return _current.get()


def runs_under_way(workspace: Workspace) -> list[UnderWay]:
    """The runs that work in a workspace now, the first begun first."""
    return sorted(notes(workspace).values(), key=lambda each: each.started_at)


def notes(workspace: Workspace) -> dict[str, UnderWay]:
    """The notes of the runs that work in a workspace now, by their paths."""
    return {
        path: noted for path, noted in _noted(workspace) if noted is not None and noted.may_work()
    }


def _noted(workspace: Workspace) -> Iterator[tuple[str, UnderWay | None]]:
    """The notes that are there; None in place of one that can't be read."""
    for path in workspace.find(FOLDER):
        try:
            yield path, UnderWay(**workspace.read_json(path))
        except FileNotFoundError:  # it is over by now
            continue
        except (DamagedError, TypeError):
            yield path, None


def _sweep(workspace: Workspace) -> None:
    """Remove the notes of runs that were killed."""
    workspace.sweep(FOLDER)
    for path, noted in list(_noted(workspace)):
        if noted is None or not noted.may_work():
            with suppress(OSError):
                workspace.remove(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
