"""Append-only Parquet manifests, addressed by what made them.

``manifests/<table>/corpus=<corpus>/fingerprint=<fingerprint>/<part>.parquet``: a *partition* is the
output of one stage with one set of parameters on one corpus; a *part* is one atomic file in it,
named after the items it covers. Nothing is overwritten: a part that exists is done.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.fingerprint import digest, short_hash
from storage.tables.parts import (
    ITEMS,
    REPLACES,
    ManifestError,
    check_schema,
    completed,
    known_table,
    names_in,
    open_part,
    present_columns,
    schema_of_part,
    table_of,
    write_parquet,
)
from storage.tables.retired import Hidden, Retired, current_rows, with_needed
from storage.tables.schemas import RETIRED, RUNS, STEMS, Table
from storage.workspace import Workspace

COMPACTED = "compact-"  # of parts that silentmix 0.1.0 joined into one
CORPUS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, order=True)
class Partition:
    """One stage's output with one set of parameters on one corpus."""

    table: str
    corpus: str
    fingerprint: str

    def __post_init__(self) -> None:
        if not CORPUS_NAME.fullmatch(self.corpus):
            raise ManifestError(
                f"corpus {self.corpus!r}: a name starts with a letter and holds letters, digits, "
                "'.', '_' and '-' only"
            )

    @property
    def folder(self) -> str:
        """Where its parts lie, relative to the workspace."""
        return f"manifests/{self.table}/corpus={self.corpus}/fingerprint={self.fingerprint}"


@dataclass(frozen=True)
class RowGroup:
    """One row group of one part."""

    path: str
    index: int


def part_path(partition: Partition, items: Iterable[str]) -> str:
    """Where the part that covers ``items`` lies, whether it is there or not."""
    return f"{partition.folder}/part-{short_hash(json.dumps(sorted(items)), 24)}.parquet"


class Manifests:
    """Reads and writes the manifests of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._retired: Retired | None = None

    # Writing

    def write(
        self, partition: Partition, items: Iterable[str], rows: Sequence[Mapping[str, Any]]
    ) -> str:
        """Write the part that covers ``items``; one that is there already is left as it is.

        A part of which items were forgotten covers them no more: they get another part beside it.

        Args:
            partition: where it goes.
            items: names of what was processed, rows or not, so that every item is in one part.
            rows: a mapping a row, in the order they are to be stored.

        Returns:
            The part's path, relative to the workspace.
        """
        names = sorted(items)
        path, is_there = self._place(partition, names)
        if not is_there:
            schema = schema_of_part(partition.table, {ITEMS: json.dumps(names).encode()})
            table = pa.Table.from_pylist(list(rows), schema=schema)
            self.workspace.put(path, lambda file: write_parquet(partition.table, [table], file))
        if partition.table == RETIRED.name:
            self._retired = None
        return path

    def _place(self, partition: Partition, names: Sequence[str]) -> tuple[str, bool]:
        """Where the part of some items goes, or is, and whether it is there."""
        path, again = part_path(partition, names), 0
        while is_there := self.workspace.exists(path):
            if self._covers(path, names):
                break
            again += 1
            key = json.dumps([*names, again])
            path = f"{partition.folder}/part-{short_hash(key, 24)}.parquet"
        return path, is_there

    def _covers(self, path: str, names: Sequence[str]) -> bool:
        return {*names} <= {*self._metadata(path, ITEMS)}

    def tidy(self, partition: Partition) -> None:
        """Remove parts that another one replaces, which a killed silentmix 0.1.0 may have left."""
        parts = set(self.parts(partition))
        for path in self.workspace.find(partition.folder):
            if path.endswith(".parquet") and path not in parts:
                self.workspace.remove(path)

    def forget(
        self,
        partition: Partition,
        matches: Callable[[pa.RecordBatch], pa.BooleanArray],
        items: Container[str],
        *,
        columns: Sequence[str],
        dry_run: bool = False,
    ) -> int:
        """Take rows and items out of a partition; returns how many rows.

        The one thing that changes a part: each that holds such a row or covers such an item is
        replaced by itself without them, under its own name, so that it is whole at any time.

        Args:
            partition: where to look.
            matches: which rows of a batch go, as a mask.
            items: names that the partition shall not cover any more.
            columns: all that ``matches`` looks at.
            dry_run: only count.
        """
        table, total = known_table(partition.table), 0
        if not dry_run:
            self.tidy(partition)
        for path in self.parts(partition):
            with self._open(path) as file:
                schema = file.schema_arrow
                check_schema(schema, table, self.workspace.url(path))
                present = present_columns(columns, schema, table)
                batches = file.iter_batches(table.rows_a_group, columns=present)
                gone = sum(_count(matches(completed(batch, columns, table))) for batch in batches)
                covered = names_in(schema, ITEMS, self.workspace.url(path))
            total += gone
            if dry_run or not (gone or any(item in items for item in covered)):
                continue
            kept = json.dumps([item for item in covered if item not in items])
            schema = schema.with_metadata({**schema.metadata, ITEMS: kept.encode()})
            self._rewrite(path, table, schema, matches)
        return total

    def _rewrite(
        self,
        path: str,
        table: Table,
        schema: pa.Schema,
        matches: Callable[[pa.RecordBatch], pa.BooleanArray],
    ) -> None:
        with self._open(path) as file:
            batches = (
                batch.filter(pc.invert(matches(batch)))
                for batch in file.iter_batches(table.rows_a_group)
            )
            kept = (pa.Table.from_batches([batch]).cast(schema) for batch in batches)
            tables = itertools.chain([schema.empty_table()], kept)
            self.workspace.put(path, lambda out: write_parquet(table.name, tables, out))

    # Finding

    def partitions(self, table: str, corpus: str | None = None) -> list[Partition]:
        """Every partition of a table, or of one corpus in it, sorted."""
        found = []
        for corpus_folder in self.workspace.folders(f"manifests/{known_table(table).name}"):
            name = corpus_folder.removeprefix("corpus=")
            if corpus is not None and name != corpus:
                continue
            found += [
                Partition(table, name, folder.removeprefix("fingerprint="))
                for folder in self.workspace.folders(f"manifests/{table}/{corpus_folder}")
            ]
        return sorted(found)

    def latest(self, table: str, corpus: str, fingerprint: str | None = None) -> Partition:
        """The partition to read: the one asked for, the only one, or the last one completed.

        Raises:
            ManifestError: there is none; the message says which stage makes it.
        """
        partitions = self.partitions(table, corpus)
        if fingerprint is not None:
            partitions = [found for found in partitions if found.fingerprint == fingerprint]
        if not partitions:
            wanted = f" with fingerprint {fingerprint}" if fingerprint else ""
            known = sorted({found.corpus for found in self.partitions(table)})
            raise ManifestError(
                f"{self.workspace.location}: no {table} of corpus {corpus!r}{wanted}; "
                + (
                    f"there are some of {', '.join(known)}"
                    if known
                    else f"no stage wrote {table} yet"
                )
                + f" (see {self.workspace.command('status')})"
            )
        if len(partitions) == 1:
            return partitions[0]
        finished = self._finished({found.fingerprint for found in partitions})
        return max(partitions, key=lambda found: (finished.get(found.fingerprint, ""), found))

    def _finished(self, fingerprints: Set[str]) -> dict[str, str]:
        """When each fingerprint's last completed run started; of thousands of runs few are read."""
        finished: dict[str, str] = {}
        for partition in self.partitions(RUNS.name):
            if partition.fingerprint not in fingerprints:
                continue
            columns = ["started_at", "outcome"]
            for batch in self.scan(partition, columns, newest_first=True):
                completed_at = [
                    run["started_at"].isoformat()
                    for run in batch.to_pylist()
                    if run["outcome"] == "completed"
                ]
                if completed_at:
                    before = finished.get(partition.fingerprint, "")
                    finished[partition.fingerprint] = max(before, *completed_at)
                    break
        return finished

    def parts(self, partition: Partition, *, newest_first: bool = False) -> list[str]:
        """The paths of a partition's parts by name or age, less those a compacted part replaces."""
        find = self.workspace.find_newest_first if newest_first else self.workspace.find
        paths = [path for path in find(partition.folder) if path.endswith(".parquet")]
        replaced: set[str] = set()
        for path in paths:
            if PurePosixPath(path).name.startswith(COMPACTED):
                replaced.update(self._metadata(path, REPLACES))
        return [path for path in paths if PurePosixPath(path).name not in replaced]

    def items(self, partition: Partition) -> set[str]:
        """Names of everything a partition covers, whether it left rows there or not."""
        return self.items_of(self.parts(partition))

    def covered(self, partition: Partition) -> Iterator[tuple[str, list[str]]]:
        """Each part of a partition, and the names of what it covers."""
        for path in self.parts(partition):
            yield path, self._metadata(path, ITEMS)

    def items_of(self, paths: Iterable[str]) -> set[str]:
        """Names of everything that some parts cover."""
        return {item for path in paths for item in self._metadata(path, ITEMS)}

    def within(self, partition: Partition, items: Set[str]) -> dict[str, set[str]]:
        """The parts that cover none but ``items``, and what each covers."""
        return {path: set(found) for path, found in self.covered(partition) if items >= set(found)}

    def row_groups(self, partition: Partition) -> list[RowGroup]:
        """The pieces in which a partition can be read and worked on in parallel."""
        groups = []
        for path in self.parts(partition):
            with self._open(path) as file:
                check_schema(
                    file.schema_arrow, known_table(partition.table), self.workspace.url(path)
                )
                groups += [RowGroup(path, index) for index in range(file.metadata.num_row_groups)]
        return groups

    def names_in_groups(
        self, partition: Partition, column: str
    ) -> Iterator[tuple[RowGroup, list[str]]]:
        """The pieces of a partition, and what one column of their current rows holds."""
        table = known_table(partition.table)
        hidden = self._hidden(partition.table, partition.corpus)
        looked_at = with_needed([column], hidden)
        for path in self.parts(partition):
            with self._open(path) as file:
                check_schema(file.schema_arrow, table, self.workspace.url(path))
                present = present_columns(looked_at, file.schema_arrow, table)
                for index in range(file.metadata.num_row_groups):
                    names: list[Any] = []
                    for batch in file.read_row_group(index, present).to_batches():
                        whole = completed(batch, looked_at, table)
                        names += current_rows(whole, [column], hidden)[column].to_pylist()
                    yield RowGroup(path, index), names

    # Reading

    def retired(self) -> Retired:
        """What is retired in the workspace; read once."""
        if self._retired is None:
            self._retired = Retired(
                (partition.corpus, row)
                for partition in self.partitions(RETIRED.name)
                for row in self.rows(partition)
            )
        return self._retired

    def _hidden(self, table: str, corpus: str) -> Hidden | None:
        return None if table == RETIRED.name else self.retired().hidden(table, corpus)

    def scan(
        self,
        partition: Partition,
        columns: Sequence[str] | None = None,
        *,
        newest_first: bool = False,
        retired: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Read a partition batch by batch, in the order of its parts' names or age.

        Rows that are not current are left out (:mod:`storage.tables.retired`), unless ``retired``.

        Raises:
            ManifestError: a part has a schema this version does not know.
        """
        table = known_table(partition.table)
        wanted = list(columns) if columns is not None else table.schema.names
        hidden = None if retired else self._hidden(partition.table, partition.corpus)
        looked_at = with_needed(wanted, hidden)
        for path in self.parts(partition, newest_first=newest_first):
            with self._open(path) as file:
                check_schema(file.schema_arrow, table, self.workspace.url(path))
                present = present_columns(looked_at, file.schema_arrow, table)
                for batch in file.iter_batches(table.rows_a_group, columns=present):
                    yield current_rows(completed(batch, looked_at, table), wanted, hidden)

    def rows(
        self,
        partition: Partition,
        columns: Sequence[str] | None = None,
        *,
        retired: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Read a partition row by row, as dictionaries; current rows alone, unless ``retired``."""
        for batch in self.scan(partition, columns, retired=retired):
            yield from batch.to_pylist()

    def read(self, partition: Partition, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns of a partition that are known to fit in memory."""
        schema = known_table(partition.table).schema
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        batches = [
            pa.record_batch(batch.columns, schema=schema.remove_metadata())
            for batch in self.scan(partition, columns)
        ]
        return pa.Table.from_batches(batches, schema=schema.remove_metadata())

    def keys(self, partition: Partition) -> Iterator[str]:
        """Each row's key, its parts joined with ``/``."""
        columns = known_table(partition.table).key
        for batch in self.scan(partition, columns):
            yield from map(
                "/".join, zip(*(batch[name].to_pylist() for name in columns), strict=True)
            )

    def digest(self, partition: Partition) -> str:
        """A digest of which rows a partition holds, whatever parts they lie in.

        A song that moves keeps its key, so what is retired of ``stems`` counts with its split.
        """
        keys = self.keys(partition)
        hidden = self._hidden(partition.table, partition.corpus)
        if hidden is not None and partition.table == STEMS.name:
            keys = itertools.chain(keys, self._retired_keys(partition, hidden))
        return digest(keys)

    def _retired_keys(self, partition: Partition, hidden: Hidden) -> Iterator[str]:
        for batch in self.scan(partition, hidden.columns, retired=True):
            for row in batch.filter(hidden.matches(batch)).to_pylist():
                yield "/".join(["retired", *row.values()])

    def count(self, partition: Partition) -> int:
        """Current rows in a partition; where none are retired, from the parts' footers."""
        if self._hidden(partition.table, partition.corpus) is not None:
            return sum(
                len(batch) for batch in self.scan(partition, known_table(partition.table).key)
            )
        total = 0
        for path in self.parts(partition):
            with self._open(path) as file:
                total += file.metadata.num_rows
        return total

    def read_row_group(
        self, group: RowGroup, columns: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """The current rows of one row group, as dictionaries."""
        batches = self.row_group_batches(group, columns)
        return [row for batch in batches for row in batch.to_pylist()]

    def row_group_batches(
        self, group: RowGroup, columns: Sequence[str] | None = None
    ) -> list[pa.RecordBatch]:
        """The current rows of one row group; mostly one batch."""
        with self._open(group.path) as file:
            table = table_of(file.schema_arrow)
            wanted = list(columns) if columns is not None else table.schema.names
            hidden = self._hidden(table.name, _corpus_of(group.path))
            looked_at = with_needed(wanted, hidden)
            present = present_columns(looked_at, file.schema_arrow, table)
            read = file.read_row_group(group.index, present).combine_chunks().to_batches()
            batches = (completed(batch, looked_at, table) for batch in read)
            return [current_rows(batch, wanted, hidden) for batch in batches]

    def row_group_fields(
        self, group: RowGroup, columns: Sequence[str], fields: Sequence[str]
    ) -> list[pa.RecordBatch]:
        """As :meth:`row_group_batches`, but of lists of structs some fields alone, which are quick.

        Args:
            group: which.
            columns: of the table, whole.
            fields: paths of fields in it, ``added.list.element.source``; no later columns'.
        """
        with self._open(group.path) as file:
            table = table_of(file.schema_arrow)
            hidden = self._hidden(table.name, _corpus_of(group.path))
            wanted = [*columns, *(field.partition(".")[0] for field in fields)]
            present = with_needed([*columns, *fields], hidden)
            read = file.read_row_group(group.index, present).combine_chunks().to_batches()
            return [current_rows(batch, wanted, hidden) for batch in read]

    def _open(self, path: str) -> AbstractContextManager[pq.ParquetFile]:
        return open_part(self.workspace, path)

    def _metadata(self, path: str, key: bytes) -> list[str]:
        with self._open(path) as file:
            return names_in(file.schema_arrow, key, self.workspace.url(path))


def _corpus_of(path: str) -> str:
    return PurePosixPath(path).parts[2].removeprefix("corpus=")


def _count(mask: pa.BooleanArray) -> int:
    count: int = mask.true_count
    return count
