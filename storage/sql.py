"""SQL over the manifests: each is a table of its name, with its corpus and fingerprint."""

from __future__ import annotations

from collections.abc import Iterable

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
        if paths:
            files = ", ".join(quoted(path) for path in paths)
            read = f"read_parquet([{files}], hive_partitioning = true)"
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {read}")
        else:
            columns = [*TABLES[name].schema, *((field, pa.string()) for field in PARTITION_FIELDS)]
            connection.register(name, pa.schema(columns).empty_table())
    return connection


def quoted(text: str) -> str:
    """A text as an SQL literal.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
