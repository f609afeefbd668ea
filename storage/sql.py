"""SQL over the manifests: each is a table of its name, with its corpus and fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from storage.manifests import Manifests, Partition
from storage.retired import Hidden, Retired
from storage.schemas import PARTITION_FIELDS, RETIRED, TABLES
from storage.workspace import Workspace

FILES_OF_STEM = (
    "[file FOR file IN string_split(source_url || chr(10) || take_urls, chr(10)) IF file <> '']"
)
"""SQL for the files that a row of ``stems`` was decoded from: one, or those that were summed."""


def connect(
    workspace: Workspace, tables: Iterable[str] = tuple(TABLES), *, retired: bool = False
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in which each manifest is a view; rows are streamed from the parts.

    A manifest that nobody has written yet is an empty view.

    Args:
        workspace: whose manifests.
        tables: their names.
        retired: see rows that are not current too.
    """
    manifests = Manifests(workspace)
    connection = duckdb.connect(config={"enable_external_access": "true"})
    if not workspace.is_local:
        connection.register_filesystem(workspace.fs)
    for name in tables:
        paths = [
            workspace.url(part)
            for partition in manifests.partitions(name)
            for part in manifests.parts(partition)
        ]
        table = TABLES[name]
        columns = [*table.schema, *((field, pa.string()) for field in PARTITION_FIELDS)]
        empty = pa.schema(columns).empty_table()
        if not paths:
            connection.register(name, empty)
            continue
        files = ", ".join(quoted(path) for path in paths)
        # of a table without later columns every part has all, and their footers need not be read
        rows = f"SELECT * FROM read_parquet([{files}], hive_partitioning = true)"
        if table.added:
            connection.register(f"{name}_columns", empty)
            read = f"read_parquet([{files}], hive_partitioning = true, union_by_name = true)"
            filled = ", ".join(
                f"coalesce({column}, {_literal(value)}) AS {column}"
                for column, value in table.added.items()
            )
            rows = (
                f"SELECT * REPLACE ({filled}) FROM "
                f"(SELECT * FROM {read} UNION ALL BY NAME SELECT * FROM {name}_columns)"
            )
        if not retired and table is not RETIRED:
            rows = _current(connection, manifests.retired(), name, rows)
        connection.execute(f"CREATE VIEW {name} AS {rows}")
    return connection


def _current(connection: duckdb.DuckDBPyConnection, retired: Retired, table: str, rows: str) -> str:
    """SQL for the rows of a table that are current, of those that ``rows`` selects."""
    keys: list[str] = []
    columns: tuple[str, ...] = ()
    added: frozenset[str] = frozenset()
    for corpus in {*retired.corpora(), ""}:
        hidden = retired.hidden(table, corpus)
        if hidden is not None:
            columns, added = hidden.columns, hidden.added
            keys += [hidden.SEPARATOR.join((corpus, key)) for key in hidden.keys]
    if keys:
        connection.register(f"{table}_retired", pa.table({"key": pa.array(keys, pa.string())}))
        joined = ", ".join(("corpus", *columns))
        key = f"concat_ws({quoted(Hidden.SEPARATOR)}, {joined})"
        rows = f"SELECT * FROM ({rows}) WHERE {key} NOT IN (SELECT key FROM {table}_retired)"
    if added:
        names = _literal(sorted(added))
        adds = f"list_has_any([stem.track_id FOR stem IN added], {names})"
        rows = f"SELECT * FROM ({rows}) WHERE NOT {adds}"
    return rows


def _literal(value: Any) -> str:
    """A column's default as SQL: a text, a number, a truth or a list of these."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return str(value).lower()


def quoted(text: str) -> str:
    """A text as an SQL literal.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def any_of(partitions: Sequence[Partition]) -> str:
    """SQL for: the row lies in one of these partitions."""
    named = [f"({quoted(found.corpus)}, {quoted(found.fingerprint)})" for found in partitions]
    return f"(corpus, fingerprint) IN ({', '.join(named)})" if named else "false"
