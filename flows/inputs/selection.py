"""The tracks of a corpus that a condition chooses, through the SQL that reaches nothing else."""

from __future__ import annotations

import duckdb

from storage.errors import UserError
from storage.printable import in_a_line
from storage.tables.manifests import Manifests
from storage.tables.schemas import DUPLICATES, MEASURES, TRACKS
from storage.tables.sql import connect, damage_told, given_up_after, quoted
from storage.workspace import Workspace

MOST_S = 3600.0
"""Seconds after which a condition is given up."""

MOST_OF = 0.5
"""A track is a duplicate if it shares so much of itself with one that came earlier."""

_JOINED = (
    "tracks LEFT JOIN (SELECT DISTINCT ON (track_id) * EXCLUDE (corpus, fingerprint) "
    "FROM measures) USING (track_id)"
)


def selected_tracks(
    manifests: Manifests, corpus: str, where: str = "", duplicates: str = "keep"
) -> frozenset[str] | None:
    """The ids of the tracks that are chosen; None where all are.

    Args:
        manifests: of the workspace.
        corpus: whose tracks.
        where: an SQL condition over the columns of ``tracks`` and ``measures``; empty for all.
        duplicates: ``drop`` those of which most is in a track that came earlier.

    Raises:
        UserError: the condition is wrong, or asks for what was not measured; with the way out.
    """
    if not where and duplicates == "keep":
        return None
    tables = (TRACKS.name, MEASURES.name, DUPLICATES.name)
    with (
        connect(manifests.workspace, tables) as database,
        given_up_after(database, MOST_S),
    ):
        of_corpus = f"corpus = {quoted(corpus)}"
        workspace = manifests.workspace
        chosen = _condition(workspace, database, where, of_corpus) if where else of_corpus
        query = f"SELECT DISTINCT track_id FROM {_JOINED} WHERE {chosen}"
        if duplicates == "drop":
            query += (
                " AND track_id NOT IN (SELECT track_id FROM duplicates WHERE reason = "
                f"'near_duplicate' AND share >= {MOST_OF})"
            )
        try:
            with damage_told(manifests.workspace):
                return frozenset(name for [name] in database.execute(query).fetchall())
        except duckdb.Error as error:
            raise _wrong(manifests.workspace, where, error) from error


def _condition(
    workspace: Workspace, database: duckdb.DuckDBPyConnection, where: str, of_corpus: str
) -> str:
    """The condition for rows of a corpus, once it is known to be one and to be answered."""
    condition = f"({of_corpus}) AND (\n{where}\n)"  # of a comment, the line ends
    try:
        query = f"SELECT track_id FROM {_JOINED} WHERE {condition} LIMIT 0"
        if len(database.extract_statements(query)) != 1 or not _stands_alone(database, where):
            raise UserError(f"where {where!r}: is more than a condition")
        database.execute(query)
    except duckdb.Error as error:
        raise _wrong(workspace, where, error) from error
    try:
        database.execute(f"SELECT track_id FROM tracks WHERE {condition} LIMIT 0")
    except duckdb.Error:  # it asks for a measure
        [lacking] = database.execute(
            f"SELECT count(DISTINCT track_id) FROM tracks ANTI JOIN measures USING (track_id) "
            f"WHERE {of_corpus}"
        ).fetchall()[0]
        if lacking:
            raise UserError(
                f"where {where!r}: {lacking} tracks were ingested before such things were "
                "measured; give the `silentmix ingest` that made the corpus once more, with "
                "--complete"
            ) from None
    return condition


def _stands_alone(database: duckdb.DuckDBPyConnection, where: str) -> bool:
    """Whether a condition is one without brackets around it, which it could close."""
    try:
        database.extract_statements(f"SELECT track_id FROM tracks WHERE\n{where}\n")
    except duckdb.Error:
        return False
    return True


def _wrong(workspace: Workspace, where: str, error: duckdb.Error) -> UserError:
    if isinstance(error, duckdb.InterruptException):
        return UserError(f"where {where!r}: not answered in {MOST_S:g} s, and given up")
    told = in_a_line(error)
    return UserError(
        f"where {where!r}: {told} (it is an SQL condition over the columns of the manifests tracks "
        f"and measures: {workspace.command('manifests show measures')})"
    )
