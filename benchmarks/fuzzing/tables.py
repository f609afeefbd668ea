"""Parts of manifests that somebody else wrote: their bytes, and what their schemas say."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzzing.mutation import mutated_value, strange
from benchmarks.fuzzing.target import Bytes, CrashError, in_short
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.parts import ITEMS
from storage.tables.schemas import TABLES
from storage.tables.sql import connect
from storage.workspace import Workspace

NUM_ROWS = 40
FUZZED = ("tracks", "rejects", "stems", "activity", "scores", "segments", "remixes", "retired",
          "source_files", "runs")  # fmt: skip


_KINDS = (pa.string(), pa.int8(), pa.float16(), pa.binary(), pa.date32(), pa.large_string(),
          pa.list_(pa.int32()), pa.bool_())  # fmt: skip


class Parts(Bytes):
    """A part of a manifest, through every way to read one: rows, items, row groups, SQL."""

    name = "parts"
    own_tokens = (
        b"PAR1", b"silentmix.items", b"silentmix.table", b"silentmix.version", b"ARROW:schema",
        b"[]", b"{}", b"../../x", b"tracks", b"rejects", b"\x15\x04",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.rmtree(folder / "workspace", ignore_errors=True)
        self._workspace = Workspace(str(folder / "workspace"), create=True)
        manifests = Manifests(self._workspace)
        self._partitions = {
            table: Partition(table, "music", "0123456789abcdef") for table in FUZZED
        }
        rows = {table: [row(table, each) for each in range(NUM_ROWS)] for table in FUZZED}
        self._paths = {
            table: manifests.write(partition, ["a", "b"], rows[table])
            for table, partition in self._partitions.items()
        }
        self._whole = {table: self._workspace.read(path) for table, path in self._paths.items()}

    def seeds(self) -> list[bytes]:
        """A part of each of some tables."""
        return list(self._whole.values())

    def mutated(
        self, draws: random.Random, content: bytes, tokens: Sequence[bytes], pool: Sequence[bytes]
    ) -> bytes:
        """Half of them with bytes changed; half whole, but other than was agreed."""
        if draws.random() < 0.5:
            return super().mutated(draws, content, tokens, pool)
        try:
            return _restated(draws, content)
        except (
            pa.ArrowException, OSError, ValueError, TypeError, OverflowError, RecursionError,
            MemoryError,
        ):  # fmt: skip
            return super().mutated(draws, content, tokens, pool)

    def run(self, content: bytes, draws: random.Random) -> str:
        """Put it in the place of a part, read everything, and put that back."""
        table = _named_in(content) or draws.choice(FUZZED)
        path = Path(self._workspace.url(self._paths[table]))
        path.write_bytes(content)
        try:
            return self._read(table, draws)
        except UserError as error:
            return in_short(error)
        finally:
            path.write_bytes(self._whole[table])

    def _read(self, table: str, draws: random.Random) -> str:
        manifests, partition = Manifests(self._workspace), self._partitions[table]
        rows = list(manifests.rows(partition))
        manifests.items(partition)
        groups = manifests.row_groups(partition)
        again = [row for group in groups for row in manifests.read_row_group(group)]
        if repr(rows) != repr(again):
            raise CrashError("rows and row groups tell different things")
        _require_types(table, rows)
        if all(isinstance(row[name], str) for row in rows[:1] for name in TABLES[table].key):
            manifests.digest(partition)
        manifests.count(partition)
        if draws.random() < 0.1:
            self._query(table)
        return f"read, {min(len(rows), 2)} rows or more"

    def _query(self, table: str) -> None:
        with connect(self._workspace, [table]) as database:
            try:
                database.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
            except duckdb.Error as error:  # as the command line says it
                raise UserError(f"SQL: {error}") from error


def _named_in(content: bytes) -> str:
    """The table that most of a part's bytes speak of."""
    place = content.rfind(b"silentmix.table")
    found = [name for name in FUZZED if name.encode() in content[place : place + 40]]
    return found[0] if place >= 0 and found else ""


def _require_types(table: str, rows: Sequence[dict[str, Any]]) -> None:
    """What a reader hands on is what the schema promises, or stages end in a traceback."""
    schema = TABLES[table].schema
    for found in rows:
        for name, value in found.items():
            if value is None or (pa.scalar(value).type.id != pa.scalar(
                value, schema.field(name).type
            ).type.id and not _is_like(value, schema.field(name).type)):  # fmt: skip
                raise CrashError(f"{table}.{name} is {value!r:.60}")


def _is_like(value: object, kind: pa.DataType) -> bool:
    kinds: dict[Any, Any] = {
        pa.types.is_integer: int, pa.types.is_floating: float, pa.types.is_list: list,
        pa.types.is_timestamp: datetime, pa.types.is_boolean: bool, pa.types.is_string: str,
    }  # fmt: skip
    return any(is_kind(kind) and isinstance(value, python) for is_kind, python in kinds.items())


def _restated(draws: random.Random, content: bytes) -> bytes:
    """The same part with another schema, other metadata or other values, and sound checksums."""
    table = pq.read_table(io.BytesIO(content))
    metadata = dict(table.schema.metadata or {})
    for _ in range(draws.choice((1, 1, 2, 3))):
        index = draws.randrange(table.num_columns or 1)
        name = table.column_names[index] if table.num_columns else ""
        match draws.randrange(6):
            case 0 if name:
                kind = draws.choice(_KINDS)
                column = table.column(index)  # by its place: two may have one name by now
                values = pa.nulls(len(table), kind) if draws.random() < 0.5 else column.cast(kind)
                table = table.set_column(index, name, values)
            case 1 if name:
                table = table.remove_column(index)
            case 2 if name:
                names = [*table.column_names]
                names[index] = str(strange(draws))[:20] or "_"
                table = table.rename_columns(names)
            case 3:
                key = draws.choice(
                    (ITEMS, b"silentmix.table", b"silentmix.version", b"silentmix.replaces")
                )
                told = json.dumps(
                    mutated_value(draws, ["a", "b"]), ensure_ascii=draws.random() < 0.5
                )
                metadata[key] = told.encode("utf-8", "replace")
            case 4:
                table = pa.concat_tables([table] * draws.choice((2, 30)))
            case _ if name:
                rows = table.to_pylist()
                draws.choice(rows)[name] = strange(draws)
                table = pa.Table.from_pylist(rows, schema=_nullable(table.schema))
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), file, write_page_checksum=True)
    return file.getvalue()


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def row(table: str, number: int) -> dict[str, Any]:
    """A row of a table, with some value in each field."""
    return {name: _value(kind, name, number) for name, kind, _ in TABLES[table].fields}


def _value(kind: pa.DataType, name: str, number: int) -> Any:
    if pa.types.is_list(kind):
        return [_value(kind.value_type, name, number + each) for each in range(3)]
    if pa.types.is_struct(kind):
        return {kind.field(each).name: _value(kind.field(each).type, kind.field(each).name, number)
                for each in range(kind.num_fields)}  # fmt: skip
    if pa.types.is_timestamp(kind):
        return datetime(2026, 1, 1, number % 24, tzinfo=UTC)
    if pa.types.is_boolean(kind):
        return bool(number % 2)
    if pa.types.is_integer(kind):
        return number
    if pa.types.is_floating(kind):
        return number / 8
    return f"{name} {number}"
