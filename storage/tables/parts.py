"""Parts: Parquet files that say which schema their rows have and which items they cover."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.damage import damaged, told
from storage.errors import UserError
from storage.remote_file import RemoteFile
from storage.tables.schemas import TABLES, Table
from storage.tables.seal import Seal, seal
from storage.workspace import Workspace

ITEMS = b"silentmix.items"
REPLACES = b"silentmix.replaces"
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds from 1970 to the beginning of the year 1, and to the end of 9999."""

MOST_ROWS_A_GROUP = 2**17
"""Groups are read whole, and silentmix writes none of a fraction of this."""


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


def write_parquet(
    name: str,
    tables: Iterable[pa.Table],
    file: Any,
    told: Callable[[], Mapping[bytes, bytes]] = dict,
) -> None:
    """Write tables of one schema as one part of the manifest ``name``.

    Arrow's own schema is left out: it would hold the names of items once more, a third longer.

    Args:
        name: of the manifest.
        tables: at least one.
        file: where to.
        told: gives metadata that is not in the schema, once all rows are written.
    """
    writer: pq.ParquetWriter | None = None
    for table in tables:
        if writer is None:
            writer = pq.ParquetWriter(
                file, table.schema, compression="zstd", version="2.6", write_page_checksum=True,
                store_schema=False,
            )  # fmt: skip
            _tell(writer, table.schema.metadata or {})
        writer.write_table(table, row_group_size=known_table(name).rows_a_group)
    if writer is not None:
        _tell(writer, told())
        writer.close()
        seal(file)


def _tell(writer: pq.ParquetWriter, metadata: Mapping[bytes, bytes]) -> None:
    writer.add_key_value_metadata({k.decode(): v.decode() for k, v in metadata.items()})


class Part(pq.ParquetFile):
    """A part, whose rows are compared with checksums as they are read.

    Args:
        content: the file.
        seal: that it has.
        url: what it is called.
    """

    def __init__(self, content: BinaryIO, seal: Seal, url: str) -> None:
        super().__init__(content, page_checksum_verification=True)
        self._seal, self._url = seal, url

    def iter_batches(self, *args: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        """As Parquet's own."""
        _check_groups(self._seal, self._url, self._seal.groups)
        return super().iter_batches(*args, **options)

    def read_row_group(self, i: int, *args: Any, **options: Any) -> pa.Table:
        """As Parquet's own."""
        _check_groups(self._seal, self._url, [i])
        return super().read_row_group(i, *args, **options)


@contextmanager
def open_part(workspace: Workspace, path: str) -> Iterator[Part]:
    """A part, to be read while the context lasts; what is read is compared with checksums.

    Parts of 0.1.0 have none, those of before 0.2 of their pages alone.

    Raises:
        DamagedError: it is damaged; here, or while it is read.
    """
    url = workspace.url(path)
    try:
        with (
            told(url),
            _content(workspace, path) as content,
            Part(content, checked(content, url), url) as file,
        ):
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            if any(group.num_rows > MOST_ROWS_A_GROUP for group in groups):
                raise damaged(url, f"a row group of more than {MOST_ROWS_A_GROUP} rows")
            yield file
    except pa.ArrowException as error:
        raise damaged(url, error) from error
    except OSError as error:
        # what a disk or a network says has a number or a class of its own; Arrow's has neither
        if type(error) is not OSError or error.errno is not None:
            raise
        raise damaged(url, error) from error


@contextmanager
def _content(workspace: Workspace, path: str) -> Iterator[BinaryIO]:
    workspace.require_file(path)
    if workspace.is_local:
        with workspace.fs.open(workspace.resolve(path), "rb") as content:
            yield content
        return
    with RemoteFile(workspace, path) as file, BufferedReader(file) as content:
        try:
            yield content
        except Exception:
            file.discard()  # lest it be the copy that is at fault
            raise


def checked(content: BinaryIO, url: str, *, rows: bool = False) -> Seal:
    """The seal of a part; the file is at its beginning again.

    Args:
        content: the part.
        url: what it is called.
        rows: compare all of its rows, too.

    Raises:
        DamagedError: its end is not what was written, or its rows are not.
    """
    seal = Seal(content)
    if seal.is_broken:
        raise damaged(url, "its end is not what was written")
    if rows:
        _check_groups(seal, url, seal.groups)
    content.seek(0)
    return seal


def _check_groups(seal: Seal, url: str, groups: Iterable[int]) -> None:
    for index in filter(seal.is_group_broken, groups):
        raise damaged(url, f"what it holds is not what was written (row group {index})")


def names_in(schema: pa.Schema, key: bytes, url: str) -> list[str]:
    """A list of names that a part keeps in its metadata.

    Raises:
        DamagedError: it is no list of names.
    """
    found: object = json.loads((schema.metadata or {}).get(key, b"[]"))
    if not isinstance(found, list) or not {str}.issuperset(map(type, found)):
        raise damaged(url, f"no list of names in {key.decode()}")
    return found


def table_of(schema: pa.Schema) -> Table:
    """The table that a part says it belongs to."""
    return known_table((schema.metadata or {}).get(b"silentmix.table", b"").decode())


def check_schema(schema: pa.Schema, table: Table, url: str) -> None:
    """Refuse a part that this version can't read.

    Raises:
        ManifestError: it has another version.
        DamagedError: it lacks a column of its version, or has one of another type.
    """
    version = (schema.metadata or {}).get(b"silentmix.version", b"none").decode()
    if version != str(table.version):
        raise ManifestError(
            f"{url}: {table.name} of schema version {version}, this silentmix knows "
            f"{table.version}; read it with the version that wrote it, or upgrade"
        )
    for field in table.schema:
        if field.name not in schema.names:
            if field.name not in table.added:
                raise damaged(url, f"{table.name} without the column {field.name!r}")
        elif not _is_kind(schema.field(field.name).type, field.type):
            kind = schema.field(field.name).type
            why = f"{table.name} with the column {field.name!r} as {kind}, not {field.type}"
            raise damaged(url, why)


def _is_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether two types hold the same, whatever their parts are called."""
    if pa.types.is_timestamp(wanted):
        return bool(found.equals(wanted))
    if found.id != wanted.id or found.num_fields != wanted.num_fields:
        return False
    fields = range(wanted.num_fields)
    return all(_is_kind(found.field(at).type, wanted.field(at).type) for at in fields)


def present_columns(wanted: Sequence[str], schema: pa.Schema, table: Table) -> list[str]:
    """Which columns to read: those that the part has; its key, where it has none of them."""
    return [name for name in wanted if name in schema.names] or list(table.key)


def _are_times(column: pa.Array[Any]) -> bool:
    """Whether Python has dates for all microseconds of a column."""
    span = pc.min_max(column.cast(pa.int64()))
    lowest, highest = span["min"].as_py(), span["max"].as_py()
    return lowest is None or (lowest >= FIRST_US and highest <= LAST_US)


def completed(batch: pa.RecordBatch, wanted: Sequence[str], table: Table) -> pa.RecordBatch:
    """The columns that are wanted; those that came after the part was written have their default.

    Only columns in :attr:`Table.added` can be missing: :func:`check_schema` saw to that.

    Raises:
        ArrowInvalid: a value is missing, or a time is none, which no part of ours has.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.null_count:
            raise pa.ArrowInvalid(f"{table.name} without a value of {name} in some row")
        if pa.types.is_timestamp(column.type) and not _are_times(column):
            raise pa.ArrowInvalid(f"{table.name} with a {name} of no year that there is")
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
