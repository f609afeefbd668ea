"""Audio that was ingested and is not there any more: a file decodes it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.running.stage import StageRun
from storage.tables.schemas import Table


def rows_without_audio(run: StageRun, table: Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a run's ``tracks`` or ``stems`` whose audio is gone; one listing tells it of all.

    Args:
        run: of ingest.
        table: which manifest.
        columns: of the rows, beside their ``path``.
    """
    there = set(run.workspace.find(f"audio/{run.corpus}"))
    rows = run.manifests.rows(run.partition(table.name), ["path", *columns])
    return [row for row in rows if row["path"] not in there]


def tell_of_gone(run: StageRun, num_gone: int, what: str) -> None:
    """Note that audio was gone, and that it is made again as far as its files are there."""
    if num_gone:
        run.notes.append(f"{num_gone} {what} had lost their audio, which is decoded again")
