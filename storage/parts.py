"""Parts: Parquet files that say which schema their rows have and which items they cover."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import UserError
from storage.schemas import TABLES, Table

ITEMS = b"silentmix.items"
REPLACES = b"silentmix.replaces"


class ManifestError(UserError):
    """A manifest that is missing, ambiguous, or of a schema this version does not know."""


def known_table(name: str) -> Table:
    """The table of a name.

    Raises:
        ManifestError: there is none; the message lists those there are.
    """
    if name not in TABLES:
        raise ManifestError(f"no manifest {name!r}; there are {', '.join(TABLES)}")
    return TABLES[name]


def schema_of_part(table: str, metadata: Mapping[bytes, bytes]) -> pa.Schema:
    """The schema that a new part of a table has, with metadata of its own."""
    schema = known_table(table).schema
    return schema.with_metadata({**(schema.metadata or {}), **metadata})


def write_parquet(name: str, tables: Iterable[pa.Table], file: Any) -> None:
    """Write tables of one schema as one part of the manifest ``name``."""
    writer: pq.ParquetWriter | None = None
    for table in tables:
        if writer is None:
            writer = pq.ParquetWriter(file, table.schema, compression="zstd", version="2.6")
        writer.write_table(table, row_group_size=known_table(name).rows_a_group)
    if writer is not None:
        writer.close()


def table_of(schema: pa.Schema) -> Table:
    """The table that a part says it belongs to."""
    return known_table((schema.metadata or {}).get(b"silentmix.table", b"").decode())


def check_schema(schema: pa.Schema, table: Table, url: str) -> None:
    """Refuse a part that this version can't read.

    Raises:
        ManifestError: it has another version, or lacks a column; with its address.
    """
    version = (schema.metadata or {}).get(b"silentmix.version", b"none").decode()
    if version != str(table.version):
        raise ManifestError(
            f"{url}: {table.name} of schema version {version}, this silentmix knows "
            f"{table.version}; read it with the version that wrote it, or upgrade"
        )
    missing = [name for name in table.schema.names if name not in {*schema.names, *table.added}]
    if missing:
        raise ManifestError(f"{url}: {table.name} without the column {missing[0]!r}")


def present_columns(wanted: Sequence[str], schema: pa.Schema, table: Table) -> list[str]:
    """Which columns to read: those that the part has; its key, where it has none of them."""
    return [name for name in wanted if name in schema.names] or list(table.key)


def completed(batch: pa.RecordBatch, wanted: Sequence[str], table: Table) -> pa.RecordBatch:
    """The columns that are wanted; those that came after the part was written have their default.

    Only columns in :attr:`Table.added` can be missing: :func:`check_schema` saw to that.
    """
    if batch.schema.names == list(wanted):
        return batch
    columns = [
        batch.column(name)
        if name in batch.schema.names
        else pa.array([table.added[name]] * batch.num_rows, table.schema.field(name).type)
        for name in wanted
    ]
    fields = [table.schema.field(name) for name in wanted]
    return pa.record_batch(columns, schema=pa.schema(fields))
