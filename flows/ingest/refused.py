"""What ingest refused, once a file: a second look that finds the same adds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from flows.running.stage import StageRun
from storage.tables.edits import remove_rows
from storage.tables.schemas import REJECTS

COLUMNS = tuple(REJECTS.schema.names)


class Refused:
    """The rejects of a run's fingerprint, those of earlier runs among them."""

    def __init__(self, run: StageRun) -> None:
        self._run, self._partition = run, run.partition(REJECTS.name)
        self._known: dict[str, dict[str, Any]] = {
            row["item"]: row for row in run.manifests.rows(self._partition, retired=True)
        }
        self._superseded: set[tuple[Any, ...]] = set()

    def write(self, items: Sequence[str], rejects: Sequence[dict[str, Any]]) -> None:
        """Write those that are not there already."""
        fresh = [row for row in rejects if self._known.get(row["item"]) != row]
        if fresh:
            self._run.manifests.write(self._partition, items, fresh)
        for row in fresh:
            if (old := self._known.get(row["item"])) is not None:
                self._superseded.add(_values(old))
            self._known[row["item"]] = row

    def settle(self) -> None:
        """Take out what was refused for another reason, or of another file, before."""
        old = self._superseded.difference(map(_values, self._known.values()))
        self._superseded.clear()
        if old:

            def matches(batch: pa.RecordBatch) -> pa.BooleanArray:
                return pa.array([_values(row) in old for row in batch.to_pylist()], pa.bool_())

            remove_rows(self._run.manifests, self._partition, matches, (), columns=COLUMNS)


def _values(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in COLUMNS)
