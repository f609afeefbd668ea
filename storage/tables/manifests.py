"""Append-only Parquet manifests, addressed by what made them.

``manifests/<table>/corpus=<corpus>/fingerprint=<fingerprint>/<part>.parquet``: a *partition* is the
output of one stage with one set of parameters on one corpus; a *part* is one atomic file in it,
named after the items it covers. Nothing is overwritten: a part that exists is done. Many small ones
are joined into one now and then (:mod:`storage.tables.joined`); what shall be gone is taken out
(:mod:`storage.tables.edits`).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.fingerprint import digest, short_hash
from storage.tables.joined import (
    FOLDER,
    Replaced,
    hidden_by,
    is_joined,
    name_of,
    replaced_by,
    spans_of,
)
from storage.tables.parts import (
    ITEMS,
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
from storage.tables.schemas import RETIRED, RUNS, STEMS
from storage.workspace import Workspace

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
    return _path_of_key(partition, json.dumps(sorted(items)))


def _path_of_key(partition: Partition, key: str) -> str:
    return f"{partition.folder}/part-{short_hash(key, 24)}.parquet"


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
        """Where the part of some items goes, or is, perhaps in a joined one; and whether it is."""
        joined = self.workspace.find(f"{partition.folder}/{FOLDER}")
        hidden = self._hidden_among(joined)
        seen = [path for path in joined if name_of(path) not in hidden]
        key, again = part_path(partition, names), 0
        while True:
            holders = (path for path in seen if name_of(key) in self.stands_for(path).names)
            path = next(holders, key)
            is_there = self.workspace.exists(path)
            if not is_there or self._covers(path, names):
                return path, is_there
            again += 1
            key = _path_of_key(partition, json.dumps([*names, again]))

    def _covers(self, path: str, names: Sequence[str]) -> bool:
        return {*names} <= {*self._items(path)}

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

    def parts(
        self,
        partition: Partition,
        *,
        newest_first: bool = False,
        leave_out: Collection[str] = (),
    ) -> list[str]:
        """The paths of a partition's parts by name or age, less those a joined part replaces.

        Args:
            partition: whose.
            newest_first: by age.
            leave_out: parts that are taken for not there.
        """
        find = self.workspace.find_newest_first if newest_first else self.workspace.find
        paths, hidden = self._listed(partition, find, leave_out)
        return [path for path in paths if name_of(path) not in hidden]

    def replaced(self, partition: Partition) -> list[str]:
        """The paths of parts that are there still, and that no reader sees."""
        paths, hidden = self.all_parts(partition)
        return [path for path in paths if name_of(path) in hidden]

    def all_parts(self, partition: Partition) -> tuple[list[str], set[str]]:
        """The paths of all parts that are there, and the names of those that others replace."""
        return self._listed(partition, self.workspace.find)

    def _listed(
        self,
        partition: Partition,
        find: Callable[[str], list[str]],
        leave_out: Collection[str] = (),
        *,
        again: bool = True,
    ) -> tuple[list[str], set[str]]:
        found = find(partition.folder)
        paths = [path for path in found if path.endswith(".parquet") and path not in leave_out]
        try:
            return paths, self._hidden_among(paths)
        except FileNotFoundError:  # another one took the place of a joined part meanwhile
            if not again:
                raise
            return self._listed(partition, find, leave_out, again=False)

    def num_written(self, partition: Partition) -> int:
        """How many parts there are, each that was joined counted by itself."""
        parts = self.parts(partition)
        return sum(self.stands_for(path).num_parts if is_joined(path) else 1 for path in parts)

    def stands_for(self, path: str) -> Replaced:
        """What a joined part stands for."""
        return _stands_for(self.workspace.location, path)

    def _hidden_among(self, paths: Iterable[str]) -> set[str]:
        joined = {name_of(path): self.stands_for(path).names for path in filter(is_joined, paths)}
        return hidden_by(joined)

    def items(self, partition: Partition) -> set[str]:
        """Names of everything a partition covers, whether it left rows there or not."""
        return {item for names in self.names_of(self.parts(partition)) for item in names}

    def covered(self, partition: Partition) -> Iterator[tuple[str, list[str]]]:
        """Each part of a partition, and the names of what it covers."""
        paths = self.parts(partition)
        yield from zip(paths, self.names_of(paths), strict=True)

    def names_of(self, paths: Iterable[str]) -> Iterator[list[str]]:
        """The names of what each of some parts covers."""
        return map(self._items, paths)

    def within(self, partition: Partition, items: Set[str]) -> dict[str, set[str]]:
        """The parts that cover none but ``items``, and what each covers.

        Those that were joined are told one by one, where each was; ``remove_parts`` finds them.
        """
        found = {}
        for path in self.parts(partition):
            with self._open(path) as file:
                spans = spans_of(file, path, self.workspace.url(path))
            is_one = [span.name for span in spans] == [name_of(path)]
            for span in spans:
                if items >= set(span.items):
                    there = path if is_one else f"{partition.folder}/{span.name}"
                    found[there] = set(span.items)
        return found

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

    def _items(self, path: str) -> list[str]:
        with self._open(path) as file:
            return names_in(file.schema_arrow, ITEMS, self.workspace.url(path))


@lru_cache(maxsize=1024)
def _stands_for(location: str, path: str) -> Replaced:
    """Read once a process: a joined part is named after what it replaces."""
    workspace = Workspace(location)
    with open_part(workspace, path) as file:
        return replaced_by(file, workspace.url(path))


def _corpus_of(path: str) -> str:
    return PurePosixPath(path).parts[2].removeprefix("corpus=")
