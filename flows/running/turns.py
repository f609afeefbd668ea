"""Who writes in a workspace and who joins its parts keep out of each other's way.

Both leave a note first (:mod:`flows.running.under_way`), and look for those of others then: of two
that begin at once, one at least sees the other. A compaction leaves a partition as soon as
somebody writes manifests of its name, and has changed nothing by then; whoever writes waits until
it has left, which takes as long as the part at hand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from datetime import UTC, datetime

from flows.catalogue import BY_NAME
from flows.running.under_way import COMPACTION_GONE_AFTER, Note, notes, under_way
from storage.tables.manifests import Partition
from storage.tables.schemas import HEARD, REJECTS, TABLES
from storage.workspace import Workspace

LOOK_EVERY_S = 0.5


def tables_of(stage: str) -> Set[str]:
    """The manifests that a run may take parts of away; all, where it is no flow of ours."""
    entry = BY_NAME.get(stage)
    return TABLES.keys() if entry is None else {*entry.writes, REJECTS.name, HEARD.name}


@contextmanager
def writing(
    workspace: Workspace, run_id: str, stage: str, corpus: str = "", fingerprint: str = ""
) -> Iterator[None]:
    """Write in a workspace while the block works; no parts of the same manifests are joined.

    Args:
        workspace: where.
        run_id: names the note that ``status`` reads.
        stage: what writes.
        corpus: on what.
        fingerprint: of what is made.
    """
    with under_way(workspace, run_id, stage, corpus, fingerprint):
        while any(noted.table in tables_of(stage) for noted in notes(workspace).values()):
            time.sleep(LOOK_EVERY_S)
        yield


class Turn:
    """A compaction of one partition, for as long as nobody else writes manifests of its name.

    Args:
        workspace: where.
        run_id: of the compaction.
        partition: whose parts.
    """

    def __init__(self, workspace: Workspace, run_id: str, partition: Partition) -> None:
        self._workspace, self._table = workspace, partition.table
        self._note = Note(
            workspace, run_id, "compact", partition.corpus, partition.fingerprint, partition.table
        )

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *_: object) -> None:
        self._note.remove()

    def goes_on(self) -> bool:
        """Whether it is its turn still: nobody else is there, and everybody can see that it is."""
        if self._note.told.silent_for() >= COMPACTION_GONE_AFTER:
            return False  # such as a machine that was asleep: others took it for gone
        self._note.tell("joining")
        found = notes(self._workspace)
        mine = found.pop(self._note.path, None)
        return mine is not None and not any(
            self._table == noted.table if noted.table else self._table in tables_of(noted.stage)
            for noted in found.values()
        )


def nobody_since(workspace: Workspace, moment: datetime) -> bool:
    """Whether all that is under way began after a moment, a compaction aside."""
    return all(
        noted.table or datetime.fromisoformat(noted.started_at).astimezone(UTC) > moment
        for noted in notes(workspace).values()
    )
