"""SQL over the manifests: each is a table of its name, with its corpus and fingerprint."""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem

from storage.errors import UserError
from storage.remote_file import BLOCK_BYTES, open_remote
from storage.scratch import PREFIX
from storage.tables.manifests import Manifests, Partition
from storage.tables.parts import checked
from storage.tables.retired import Hidden, Retired
from storage.tables.schemas import PARTITION_FIELDS, RETIRED, SCORES, TABLES
from storage.workspace import Workspace

MOST_MEMORY = 4 * 2**30
"""Bytes that a query holds in memory; half of what the machine has, where that is less."""

MOST_SCRATCH = "100GB"
"""Of what a query writes to a disk because it does not fit in memory."""

LEAN = {"fragment_readahead": 1, "batch_readahead": 2, "cache_metadata": False}
"""How parts are scanned. A part's end names all that it covers, and a row group may be large."""

FILES_OF_STEM = (
    "[file FOR file IN string_split(source_url || chr(10) || take_urls, chr(10)) IF file <> '']"
)
"""SQL for the files that a row of ``stems`` was decoded from: one, or those that were summed."""

FILES_OF_TRACKS = (
    "(SELECT corpus, fingerprint, track_id, source_url FROM tracks UNION "
    "SELECT * FROM (SELECT corpus, arg_max(fingerprint, seen_at), arg_max(track_id, seen_at) AS "
    "track_id, source_url FROM source_files WHERE track_id <> '' GROUP BY corpus, source_url) "
    "SEMI JOIN tracks USING (track_id))"
)
"""SQL for the files that tracks name, and those that held the same audio when they were last
looked at: the table that it makes of ``tracks`` and ``source_files`` has a row a file and track."""

_FAILED = re.compile(r"reading the stream registered as '(\w+)_parts' failed")
"""What DuckDB says where Arrow can't read a part."""


@contextmanager
def reading(
    workspace: Workspace, tables: Iterable[str] = tuple(TABLES), *, retired: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """As :func:`connect`, while the context lasts; damage is told as all other readers tell it.

    Raises:
        DamagedError: in the context: a part is damaged.
        ManifestError: in the context: a part has a schema this version does not know.
    """
    with connect(workspace, tables, retired=retired) as connection, damage_told(workspace):
        yield connection


@contextmanager
def damage_told(workspace: Workspace) -> Iterator[None]:
    """Turn what DuckDB says of a part that can't be read into the error that names it.

    Raises:
        DamagedError: a part is damaged.
        ManifestError: a part has a schema this version does not know.
    """
    try:
        yield
    except duckdb.Error as error:
        failed = _FAILED.search(str(error))
        if failed is None:
            raise
        manifests = Manifests(workspace)
        for partition in manifests.partitions(failed[1]):
            for _ in manifests.scan(partition, retired=True):
                pass  # it is the reader that knows what is wrong with which
        raise UserError(
            f"{workspace.location}: parts of {failed[1]} changed while they were read; run the "
            "same command again"
        ) from error


@contextmanager
def given_up_after(connection: duckdb.DuckDBPyConnection, limit_s: float) -> Iterator[None]:
    """What the connection does takes so long at most.

    Raises:
        duckdb.InterruptException: in the context: it is not done.
    """
    stop = threading.Timer(limit_s, connection.interrupt)
    stop.daemon = True
    stop.start()
    try:
        yield
    finally:
        stop.cancel()


@contextmanager
def connect(
    workspace: Workspace,
    tables: Iterable[str] = tuple(TABLES),
    *,
    retired: bool = False,
    leave_out: Collection[str] = (),
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection in which each manifest is a view; rows are streamed from the parts.

    A manifest that nobody has written yet is an empty view. The connection reaches nothing else:
    parts are read by Arrow, which is handed their names, so that DuckDB itself opens no file, and
    no SQL can change that. Parts that are not on a disk are fetched first.

    Args:
        workspace: whose manifests.
        tables: their names.
        retired: see rows that are not current too.
        leave_out: parts that are not read.

    Raises:
        DamagedError: a part is not what was written; of ``scores``, which are as large as all
            others together, the ends are compared alone.
    """
    manifests = Manifests(workspace)
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX) as scratch,
        duckdb.connect(config=_settings(scratch)) as connection,
    ):
        connection.execute("SET python_enable_replacements = false")  # none of ours as tables
        connection.execute("SET enable_progress_bar = false")
        for name in tables:
            parts = _registered(connection, manifests, name, leave_out, Path(scratch))
            rows = f"SELECT * FROM {parts}"
            table = TABLES[name]
            if table.added:
                filled = ", ".join(
                    f"coalesce({column}, {_literal(value)}) AS {column}"
                    for column, value in table.added.items()
                )
                rows = f"SELECT * REPLACE ({filled}) FROM ({rows})"
            if not retired and table is not RETIRED:
                rows = _current(connection, manifests.retired(), name, rows)
            connection.execute(f"CREATE VIEW {name} AS {rows}")
        connection.execute("SET lock_configuration = true")
        yield connection


def _settings(scratch: str) -> dict[str, str | bool | int | float | list[str]]:
    """Nothing from outside, and what does not fit in memory goes to a folder of temporary files."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "enable_external_access": "false",
        "memory_limit": f"{min(MOST_MEMORY, memory // 2)}B",
        "temp_directory": scratch,
        "max_temp_directory_size": MOST_SCRATCH,
    }


def _registered(
    connection: duckdb.DuckDBPyConnection,
    manifests: Manifests,
    name: str,
    leave_out: Collection[str],
    scratch: Path,
) -> str:
    """Register all parts of a manifest as one table; returns its name."""
    workspace = manifests.workspace
    fields = [pa.field(field, kind) for field, kind, _ in TABLES[name].fields]
    schema = pa.schema([*fields, *(pa.field(each, pa.string()) for each in PARTITION_FIELDS)])
    paths: list[str] = []
    partitions = []
    for partition in manifests.partitions(name):
        within = (ds.field("corpus") == partition.corpus) & (
            ds.field("fingerprint") == partition.fingerprint
        )
        parts = manifests.parts(partition, leave_out=leave_out)
        files = _on_disk(workspace, parts, scratch)
        for part, file in zip(parts, files, strict=True):
            workspace.require_file(part)
            with suppress(FileNotFoundError), open(file, "rb") as content:
                checked(content, workspace.url(part), rows=name != SCORES.name)
        paths += files  # one that was taken away meanwhile is told when it is read
        partitions += [within] * len(parts)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet, local = ds.ParquetFileFormat(default_fragment_scan_options=options), LocalFileSystem()
    fragments = [
        parquet.make_fragment(path, local, within)
        for path, within in zip(paths, partitions, strict=True)
    ]
    connection.register(f"{name}_parts", _Parts(fragments, schema, parquet, local))
    return f"{name}_parts"


class _Parts(ds.FileSystemDataset):
    """Parts as DuckDB scans them: few row groups at once, and no part's end is remembered."""

    def scanner(self, *args: Any, **options: Any) -> ds.Scanner:
        """As a dataset's own, in a bounded memory."""
        return super().scanner(*args, **{**options, **LEAN})


def _on_disk(workspace: Workspace, parts: Sequence[str], scratch: Path) -> list[str]:
    """Where the parts are on a disk, to which they are fetched unless they are there.

    Arrow could open them where they are, through Python. But it begins a scan with Python's lock
    held and waits there for its own threads, which want that lock too: now and then both waited
    for ever.
    """
    if workspace.is_local:
        return [workspace.resolve(part) for part in parts]
    files = [scratch / part for part in parts]
    for part, file in zip(parts, files, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        with (
            suppress(FileNotFoundError),
            open_remote(workspace, part) as content,
            file.open("wb") as copy,
        ):
            shutil.copyfileobj(content, copy, BLOCK_BYTES)
    return [str(file) for file in files]


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
        rows = f"SELECT * FROM ({rows}) WHERE NOT {adds_any_of(_literal(sorted(added)))}"
    return rows


def _literal(value: Any) -> str:
    """A column's default as SQL: a text, a number, a truth or a list of these."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{quoted(str(value))}::FLOAT"  # which is of no wider type than any such column
    return str(value).lower()


def quoted(text: str) -> str:
    """A text as an SQL literal.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def adds_any_of(songs: str) -> str:
    """SQL for: the recipe adds a stem of one of a list of songs, which is SQL too."""
    return f"list_has_any([stem.track_id FOR stem IN added], {songs})"


def any_of(partitions: Sequence[Partition]) -> str:
    """SQL for: the row lies in one of these partitions."""
    named = [f"({quoted(found.corpus)}, {quoted(found.fingerprint)})" for found in partitions]
    return f"(corpus, fingerprint) IN ({', '.join(named)})" if named else "false"
