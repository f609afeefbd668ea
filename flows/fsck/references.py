"""Every reference between manifests, and from them to files, leads somewhere.

Each check is one query that streams the tables and gives a row a partition, with how many rows lead
nowhere and one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from flows.fsck.finding import Finding
from flows.fsck.parts import makers
from storage.tables.schemas import RETIRED, TABLES
from storage.workspace import Workspace

_HEARABLE = "(SELECT corpus, track_id FROM tracks UNION ALL SELECT corpus, track_id FROM stems)"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A reference from the rows of a table.

    Attributes:
        table: that has it.
        value: SQL for what it names, for the message.
        of: where that should be.
        lost: SQL condition, of a row ``mine``, that it is not there.
        rows: SQL for the rows, where it is not simply the table.
    """

    table: str
    value: str
    of: str
    lost: str
    rows: str = ""


def _not_in(rows: str, *same: str, **named: str) -> str:
    """That no row has the same values; ``named`` are their columns that have another name here."""
    columns = {**dict.fromkeys(same), **named}
    joined = " AND ".join(
        f"theirs.{theirs} = mine.{mine or theirs}" for theirs, mine in columns.items()
    )
    return f"NOT EXISTS (FROM {rows} AS theirs WHERE {joined})"


REFERENCES = (
    Reference(
        table="activity", value="track_id", of="stems", lost=_not_in("stems", "corpus", "track_id")
    ),
    Reference(
        table="scores", value="track_id", of="tracks or stems",
        lost=_not_in(_HEARABLE, "corpus", "track_id"),
    ),
    Reference(
        table="tempos", value="track_id", of="tracks or stems",
        lost=_not_in(_HEARABLE, "corpus", "track_id"),
    ),
    Reference(
        table="segments", value="track_id", of="tracks",
        lost=_not_in("tracks", "corpus", "track_id"),
    ),
    Reference(
        table="segments", value="track_id || ' of ' || scores_fingerprint", of="scores",
        lost=_not_in("scores", "corpus", "track_id", fingerprint="scores_fingerprint"),
    ),
    Reference(
        table="remixes", value="segment_id || ' of ' || segments_fingerprint", of="segments",
        lost=_not_in("segments", "corpus", "segment_id", fingerprint="segments_fingerprint"),
        rows="(FROM remixes WHERE model_id = '')",
    ),
    Reference(
        table="remixes", value="track_id", of="stems", lost=_not_in("stems", "track_id"),
        rows="(SELECT corpus, fingerprint, unnest([stem.track_id FOR stem IN added]) AS track_id "
        "FROM remixes WHERE model_id = '')",
    ),
    Reference(
        table="remixes", value="track_id", of="tracks", lost=_not_in("tracks", "track_id"),
        rows="(SELECT corpus, fingerprint, unnest([stem.track_id FOR stem IN added]) AS track_id "
        "FROM remixes WHERE model_id <> '')",
    ),
    Reference(
        table="audits", value="segment_id || ' of ' || segments_fingerprint", of="segments",
        lost=_not_in("segments", "corpus", "segment_id", fingerprint="segments_fingerprint"),
    ),
    Reference(
        table="evaluations", value="track_id", of="stems",
        lost=_not_in("stems", "corpus", "track_id"),
    ),
)  # fmt: skip
"""All references from rows to rows."""


def check_references(database: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Rows that name what no manifest has."""
    for found in REFERENCES:
        rows = database.sql(
            f"SELECT corpus, fingerprint, count(*), min({found.value}) "
            f"FROM {found.rows or found.table} AS mine WHERE {found.lost} GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        for corpus, fingerprint, count, first in rows:
            yield Finding(
                kind="lost_reference",
                what=f"{found.table} {corpus}/{fingerprint}",
                why=f"{count} rows name what {found.of} do not have, such as {first}",
                corpus=corpus,
                tables=(found.table,),
                stages=makers(found.of.partition(" ")[0]),
            )


def check_keys(database: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Rows that are there twice."""
    for name, table in TABLES.items():
        if name == RETIRED.name:
            continue  # events, which two runs may note
        key = ", ".join(table.key)
        rows = database.sql(
            f"SELECT corpus, fingerprint, count(*), min(key) FROM (SELECT corpus, fingerprint, "
            f"concat_ws('/', {key}) AS key FROM {name} GROUP BY ALL HAVING count(*) > 1) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        for corpus, fingerprint, count, first in rows:
            yield Finding(
                kind="doubled",
                what=f"{name} {corpus}/{fingerprint}",
                why=f"{count} keys have several rows, such as {first}",
                corpus=corpus,
                tables=(name,),
            )


def check_files(workspace: Workspace, database: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Evaluations name files of museval that are there; their models may have been deleted."""
    rows = database.sql(
        "SELECT DISTINCT corpus, fingerprint, museval_path FROM evaluations ORDER BY ALL"
    )
    for corpus, fingerprint, path in rows.fetchall():
        if not _is_there(workspace, path):
            where = f"evaluations {corpus}/{fingerprint}"
            yield Finding(
                kind="missing_file", what=path, why=f"named by {where}",
                corpus=corpus, made=fingerprint, tables=("evaluations",), stages=("evaluate",),
            )  # fmt: skip


def _is_there(workspace: Workspace, path: str) -> bool:
    try:
        return workspace.exists(path)
    except ValueError:  # it would leave the workspace
        return False
