"""Puts away what is damaged, so that the stages make it again; nothing is deleted.

What is put away lies in ``quarantine/<time>/``, each file at its own path, beside a list of what
was found. Rows whose audio is missing or damaged are taken out of the manifests that say that their
file was ingested; the parts are copied there as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from flows.fsck.finding import Finding
from storage.tables.edits import remove_rows
from storage.tables.manifests import Manifests
from storage.tables.parts import open_part
from storage.tables.schemas import ACTIVITY, STEMS, TRACKS
from storage.workspace import Workspace

FOLDER = "quarantine"
FINDINGS = "findings.json"


def put_away(
    manifests: Manifests, database: duckdb.DuckDBPyConnection, findings: Sequence[Finding]
) -> str:
    """Move what findings are about out of the way; returns where to, relative to the workspace."""
    workspace = manifests.workspace
    place = f"{FOLDER}/{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    workspace.put_json(f"{place}/{FINDINGS}", [found.model_dump() for found in findings])
    for path in dict.fromkeys(path for found in findings for path in found.put_away):
        if workspace.exists(path):
            _move(workspace, path, f"{place}/{path}")
    damaged = {found.track_id for found in findings if found.track_id}
    if damaged:  # of what is left, since a part that is damaged can't be read
        _take_out(manifests, database, damaged, place)
    return place


def _move(workspace: Workspace, path: str, to: str) -> None:
    target = workspace.resolve(to)
    workspace.fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
    workspace.fs.mv(workspace.resolve(path), target, recursive=True)


def _take_out(
    manifests: Manifests, database: duckdb.DuckDBPyConnection, ids: Set[str], place: str
) -> None:
    """Take the rows of tracks and songs out, and the items that say that they are done."""
    wanted = {"ids": sorted(ids)}
    files = database.execute(
        "SELECT source_url FROM tracks WHERE track_id IN (SELECT unnest($ids)) UNION "
        "SELECT source_url FROM source_files WHERE track_id IN (SELECT unnest($ids))",
        wanted,
    ).fetchall()
    songs = database.execute(
        "SELECT DISTINCT split || '/' || song FROM stems WHERE track_id IN (SELECT unnest($ids))",
        wanted,
    ).fetchall()
    of_tracks, of_songs = ({name for [name] in found} for found in (files, songs))
    is_hit = partial(_is_one_of, ids=pa.array([*ids], pa.string()))
    for table, names in ((TRACKS, of_tracks), (STEMS, of_songs), (ACTIVITY, of_songs)):
        for partition in manifests.partitions(table.name):
            items: set[str] = set()
            for path, covered in manifests.covered(partition):
                hits = {item for item in covered if _names(item) & names}
                if hits or _has_row(manifests.workspace, path, is_hit):
                    content = manifests.workspace.read(path)
                    manifests.workspace.put_bytes(f"{place}/{path}", content)
                    items |= hits
            remove_rows(manifests, partition, is_hit, items, columns=["track_id"])


def _has_row(
    workspace: Workspace, path: str, is_hit: Callable[[pa.RecordBatch], pa.BooleanArray]
) -> bool:
    with open_part(workspace, path) as file:
        return any(is_hit(batch).true_count for batch in file.iter_batches(columns=["track_id"]))


def _names(item: str) -> set[str]:
    """What an item may be the item of: its name ends before its size, its time and the like."""
    return set(_shorter(item))


def _shorter(item: str) -> Iterator[str]:
    while True:
        yield item
        item, separator, _ = item.rpartition("|")
        if not separator:
            return


def _is_one_of(batch: pa.RecordBatch, ids: pa.StringArray) -> pa.BooleanArray:
    return pc.is_in(batch["track_id"], ids)
