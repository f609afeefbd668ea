"""Every row's audio is there, as long as the row says, and, if asked for, the very samples.

Rows and files are both sorted by path and walked side by side, so that memory holds one folder.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import duckdb

from flows.fsck.finding import Finding
from storage.decoding.canonical import wav_header
from storage.decoding.unchanged import what_changed
from storage.workspace import TEMPORARY, Workspace

ROWS_AT_ONCE = 10_000
BYTES_A_VALUE = 2


@dataclass(frozen=True)
class Row:
    """What the manifests say of one file of audio."""

    path: str
    corpus: str
    table: str
    track_id: str
    num_samples: int
    content_hash: str


def check_audio(
    workspace: Workspace, database: duckdb.DuckDBPyConnection, *, samples: bool
) -> Iterator[Finding]:
    """Compare rows with files.

    Args:
        workspace: where.
        database: its manifests.
        samples: read every file and compare what is in it with its hash.
    """
    rows = _rows(database)
    row = next(rows, None)
    for path, num_bytes in _files(workspace, "audio"):
        while row is not None and _order(row.path) < _order(path):
            yield _missing(row)
            row = next(rows, None)
        if row is None or row.path != path:
            yield Finding(
                kind="orphan", what=path, put_away=(path,), stages=("ingest",),
                why="no row names it: left by an ingest that was killed and will go on with it, or "
                "its row is lost",
            )  # fmt: skip
        while row is not None and row.path == path:
            if problem := _problem(workspace, row, num_bytes, samples=samples):
                yield _damaged(row, problem)
            row = next(rows, None)
    while row is not None:
        yield _missing(row)
        row = next(rows, None)


def _rows(database: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    """The rows that name audio, in the order of the files; one of those that say the same."""
    database.execute(
        "SELECT DISTINCT path, corpus, 'tracks' AS manifest, track_id, num_samples, content_hash "
        "FROM tracks UNION ALL SELECT DISTINCT path, corpus, 'stems', track_id, num_samples, "
        "content_hash FROM stems UNION ALL SELECT DISTINCT stem.path, corpus, 'remixes', "
        "stem.track_id, stem.track_num_samples, '' FROM (SELECT corpus, unnest(added) AS stem "
        "FROM remixes WHERE model_id <> '') ORDER BY string_split(path, '/')"
    )
    while chunk := database.fetchmany(ROWS_AT_ONCE):
        yield from itertools.starmap(Row, chunk)


def _files(workspace: Workspace, folder: str) -> Iterator[tuple[str, int]]:
    """Paths and sizes of the files below a folder, a folder at a time, in order."""
    workspace.fs.invalidate_cache()
    try:
        entries = workspace.fs.ls(workspace.resolve(folder), detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in sorted(entries, key=lambda entry: PurePosixPath(entry["name"]).name):
        name = PurePosixPath(entry["name"]).name
        if entry["type"] == "directory":
            yield from _files(workspace, f"{folder}/{name}")
        elif not (name.startswith(".") and name.endswith(TEMPORARY)):
            yield f"{folder}/{name}", int(entry["size"] or 0)


def _order(path: str) -> list[str]:
    return path.split("/")


def _problem(workspace: Workspace, row: Row, num_bytes: int, *, samples: bool) -> str:
    music = workspace.music
    header = wav_header(row.num_samples, music.sample_rate, music.num_channels)
    wanted = len(header) + row.num_samples * music.num_channels * BYTES_A_VALUE
    if num_bytes != wanted:
        return f"has {num_bytes} bytes, and {wanted} were written"
    if not samples:
        return ""
    try:
        return what_changed(workspace, row.path, row.num_samples, row.content_hash)
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"can't be read ({error.strerror or os.strerror(error.errno or 0)})"


def _missing(row: Row) -> Finding:
    return Finding(
        kind="missing_audio", what=row.path, why=f"named by a row of {row.table}, and not there",
        corpus=row.corpus, tables=(row.table,), track_id=row.track_id, stages=(_maker(row),),
    )  # fmt: skip


def _damaged(row: Row, problem: str) -> Finding:
    return Finding(
        kind="damaged_audio", what=row.path, why=problem, corpus=row.corpus, tables=(row.table,),
        track_id=row.track_id, stages=(_maker(row),), put_away=(row.path,),
    )  # fmt: skip


def _maker(row: Row) -> str:
    """The stage that wrote a file; of recipes, only a model's estimates are such."""
    return "pseudo-label" if row.table == "remixes" else "ingest"
