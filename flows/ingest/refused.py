"""What ingest refused, once a file: a second look that finds the same adds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.running.stage import StageRun
from storage.tables.edits import remove_rows
from storage.tables.retired import Hidden
from storage.tables.schemas import REJECTS


class Refused:
    """The rejects of a run's fingerprint, those of earlier runs among them."""

    def __init__(self, run: StageRun) -> None:
        self._run, self._partition = run, run.partition(REJECTS.name)
        self._known: dict[str, dict[str, Any]] = {
            row["item"]: row for row in run.manifests.rows(self._partition, retired=True)
        }
        self._superseded: set[tuple[str, str]] = set()

    def write(self, items: Sequence[str], rejects: Sequence[dict[str, Any]]) -> None:
        """Write those that are not there already."""
        fresh = [row for row in rejects if self._known.get(row["item"]) != row]
        if fresh:
            self._run.manifests.write(self._partition, items, fresh)
        for row in fresh:
            if (old := self._known.get(row["item"])) is not None:
                self._superseded.add((old["item"], old["detail"]))
            self._known[row["item"]] = row

    def settle(self) -> None:
        """Take out what was refused for another reason before."""
        if not self._superseded:
            return
        columns = ("item", "detail")
        old = Hidden(columns, frozenset(map(Hidden.SEPARATOR.join, self._superseded)))
        remove_rows(self._run.manifests, self._partition, old.matches, (), columns=columns)
        self._superseded.clear()
