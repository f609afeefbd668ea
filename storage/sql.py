"""SQL over the manifests: each is a table of its name, with its corpus and fingerprint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb
import pyarrow as pa

from storage.manifests import Manifests
from storage.schemas import PARTITION_FIELDS, TABLES
from storage.workspace import Workspace


def connect(
    workspace: Workspace, tables: Iterable[str] = tuple(TABLES)
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in which each manifest is a view; rows are streamed from the parts.

    A manifest that nobody has written yet is an empty view.
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
        if not table.added:  # every part has every column, and their footers need not be read
            read = f"read_parquet([{files}], hive_partitioning = true)"
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {read}")
            continue
        connection.register(f"{name}_columns", empty)
        read = f"read_parquet([{files}], hive_partitioning = true, union_by_name = true)"
        filled = ", ".join(
            f"coalesce({column}, {_literal(value)}) AS {column}"
            for column, value in table.added.items()
        )
        connection.execute(
            f"CREATE VIEW {name} AS SELECT * REPLACE ({filled}) FROM "
            f"(SELECT * FROM {read} UNION ALL BY NAME SELECT * FROM {name}_columns)"
        )
    return connection


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
