"""Joins the many small parts of a partition into few large ones, and loses nothing by it.

Parts are joined by tiers: those of a tier are of similar size, and as soon as there are
:data:`FEWEST` of them they become one, of a tier above. So a row is written anew a few times in
all, and not each time that some others came. How much one holds is bounded, its names above all:
they are in its footer, which is read to know what it replaces.

A joined part is compared with what it was made of, row by row, before it has a name. From that
moment on readers see it in place of the others, which stay where they are. They are removed later,
by whoever knows that nobody reads them any more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from storage.damage import damaged
from storage.errors import UserError
from storage.tables.joined import (
    Span,
    is_joined,
    joined_path,
    name_of,
    others_of,
    regrouped,
    spans_of,
    told_of,
)
from storage.tables.manifests import Manifests, Partition
from storage.tables.parts import (
    ITEMS,
    REPLACES,
    Part,
    check_schema,
    checked,
    completed,
    known_table,
    open_part,
    table_of,
    write_parquet,
)
from storage.tables.schemas import AUDITS, RUNS, TABLES, Table

FEWEST = 16
"""Parts of a tier that are joined; those of a tier are at most so many times as large as others."""

FULL = 0.5
"""A part that is filled so far is not joined again."""

NEVER = (RUNS.name, AUDITS.name)
"""Runs are read newest first, a part a run; answers of an audit are taken back at any time."""

JOINABLE = tuple(name for name in TABLES if name not in NEVER)


class OvertakenError(UserError):
    """Something else wrote where parts were to be joined."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much a joined part holds at most.

    Attributes:
        num_bytes: of its file.
        name_bytes: of the names in its footer.
        num_groups: its row groups, each of which is described in the footer, too.
    """

    num_bytes: int = 64 * 2**20
    name_bytes: int = 2**20
    num_groups: int = 128


BOUNDS = Bounds()


@dataclass(frozen=True)
class _Sized:
    """A part, and how much of each of the bounds it takes."""

    path: str
    shares: tuple[float, float, float]

    @property
    def share(self) -> float:
        return max(self.shares)

    @property
    def tier(self) -> int:
        """0 for the largest, 1 for those of a sixteenth of it, and so on."""
        return int(-math.log(self.share, FEWEST))


def to_join(manifests: Manifests, partition: Partition, bounds: Bounds = BOUNDS) -> list[list[str]]:
    """Which parts of a partition to join: a list of paths a joined part.

    Args:
        manifests: of the workspace.
        partition: where to look.
        bounds: of a joined part.
    """
    sizes = manifests.workspace.sizes_and_times(partition.folder)
    paths = [path for path in manifests.parts(partition) if path in sizes]
    tiers: dict[int, list[_Sized]] = {}
    for path in paths if len(paths) >= FEWEST else ():
        sized = _sized(manifests, partition, path, sizes[path][0], bounds)
        if sized is not None and sized.share < FULL:
            tiers.setdefault(sized.tier, []).append(sized)
    packs = [pack for tier in tiers.values() if len(tier) >= FEWEST for pack in _packed(tier)]
    return [pack for pack in packs if len(pack) > 1]


def _sized(
    manifests: Manifests, partition: Partition, path: str, num_bytes: int, bounds: Bounds
) -> _Sized | None:
    """How large a part is; None where it has columns that are not ours, which would be lost."""
    table = known_table(partition.table)
    with open_part(manifests.workspace, path) as file:
        schema = file.schema_arrow
        check_schema(schema, table, manifests.workspace.url(path))
        num_rows, metadata = file.metadata.num_rows, schema.metadata or {}
    if not {*schema.names} <= {*table.schema.names}:
        return None
    name_bytes = sum(len(metadata.get(key, b"")) for key in (ITEMS, REPLACES)) + len(name_of(path))
    return _Sized(
        path,
        (
            num_bytes / bounds.num_bytes,
            name_bytes / bounds.name_bytes,
            num_rows / (bounds.num_groups * table.rows_a_group),
        ),
    )


def _packed(parts: Iterable[_Sized]) -> Iterator[list[str]]:
    """Parts in their order, as many together as the bounds allow."""
    pack: list[str] = []
    filled = (0.0, 0.0, 0.0)
    for part in parts:
        total = tuple(a + b for a, b in zip(filled, part.shares, strict=True))
        if pack and max(total) > 1:
            yield pack
            pack, total = [], part.shares
        pack.append(part.path)
        filled = (total[0], total[1], total[2])
    yield pack


def join(
    manifests: Manifests,
    partition: Partition,
    paths: Sequence[str],
    go_on: Callable[[], bool] = lambda: True,
) -> str:
    """Put one part in the place of several; they stay, and no reader sees them any more.

    Args:
        manifests: of the workspace.
        partition: whose parts.
        paths: of the parts.
        go_on: asked now and then, and at last before the joined part is there: whether nobody else
            writes there meanwhile.

    Returns:
        Its path, relative to the workspace.

    Raises:
        OvertakenError: somebody does; nothing has changed.
        DamagedError: a part is damaged, or the joined one does not hold what they hold.
    """
    workspace, table = manifests.workspace, known_table(partition.table)
    spans: list[Span] = []
    others: set[str] = set()
    for path in paths:
        with open_part(workspace, path) as file:
            url = workspace.url(path)
            found = spans_of(file, path, url)
            others |= others_of(file.schema_arrow, found, url)
        spans += found
        if [span.name for span in found] != [name_of(path)]:
            others.add(name_of(path))
    told = told_of(spans, others)
    target = joined_path(partition.folder, [*others, *(span.name for span in spans)])

    def rows() -> Iterator[pa.Table]:
        for rows in regrouped(_rows(manifests, paths, table), table.schema, table.rows_a_group):
            if not go_on():
                raise OvertakenError(f"{workspace.url(partition.folder)}: somebody writes there")
            yield rows

    def write(file: BinaryIO) -> None:
        write_parquet(table.name, rows(), file, lambda: told)
        file.flush()
        _compare(file, workspace.url(target), told, rows())
        # what it was made of is what is seen still
        if not ({*paths} <= {*manifests.parts(partition)} and go_on()):
            raise OvertakenError(f"{workspace.url(partition.folder)}: somebody writes there")

    workspace.put(target, write)
    return target


def _rows(manifests: Manifests, paths: Iterable[str], table: Table) -> Iterator[pa.RecordBatch]:
    for path in paths:
        with open_part(manifests.workspace, path) as file:
            for batch in file.iter_batches(table.rows_a_group):
                whole = completed(batch, table.schema.names, table)
                yield from pa.Table.from_batches([whole]).cast(table.schema).to_batches()


def _compare(
    content: BinaryIO, url: str, told: dict[bytes, bytes], expected: Iterable[pa.Table]
) -> None:
    """Read what was written anew, and compare it with what it was made of.

    Raises:
        DamagedError: it is not the same.
    """
    content.seek(0)
    file = Part(content, checked(content, url, rows=True), url)
    schema = file.schema_arrow
    for key in told:
        if schema.metadata.get(key) != told[key]:
            raise damaged(url, f"not the {key.decode()} that were to be written")
    num_rows = 0
    for index, rows in enumerate(expected):
        if not _is_same(file.read_row_group(index).cast(rows.schema), rows):
            raise damaged(url, f"not the rows that were to be written (row group {index})")
        num_rows += len(rows)
    if file.metadata.num_rows != num_rows:
        raise damaged(url, f"{file.metadata.num_rows} rows, not {num_rows}")


def _is_same(one: pa.Table, other: pa.Table) -> bool:
    pairs = zip(one.itercolumns(), other.itercolumns(), strict=True)
    return one.num_rows == other.num_rows and all(
        _are_equal(a.combine_chunks(), b.combine_chunks()) for a, b in pairs
    )


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two columns hold the same, bit by bit: what is no number is the same as itself."""
    if pa.types.is_list(one.type):
        lengths = pc.list_value_length(one), pc.list_value_length(other)
        return lengths[0].equals(lengths[1]) and _are_equal(one.flatten(), other.flatten())
    if pa.types.is_struct(one.type):
        fields = zip(one.flatten(), other.flatten(), strict=True)
        return bool(one.is_valid().equals(other.is_valid())) and all(
            itertools.starmap(_are_equal, fields)
        )
    if pa.types.is_floating(one.type):
        bits = pa.int32() if one.type == pa.float32() else pa.int64()
        one, other = one.view(bits), other.view(bits)
    return bool(one.equals(other))


@dataclass(frozen=True)
class Outlived:
    """A joined part, and what is there still of what it replaces.

    Attributes:
        path: of the joined part.
        written_at: when it was written.
        parts: the paths of what it replaces.
    """

    path: str
    written_at: datetime
    parts: list[str]


def outlived(manifests: Manifests, partition: Partition) -> list[Outlived]:
    """The joined parts of a partition that stand beside what they replace."""
    there = {name_of(path): path for path in manifests.replaced(partition)}
    if not there:
        return []
    files = manifests.workspace.sizes_and_times(partition.folder)
    found = []
    for path in filter(is_joined, manifests.parts(partition)):
        names = manifests.stands_for(path).names & there.keys()
        if names and path in files:
            parts = [there[name] for name in sorted(names)]
            found.append(Outlived(path, files[path][1], parts))
    return found


def remove_outlived(manifests: Manifests, found: Outlived) -> list[str]:
    """Remove what a joined part replaces, once all of it was read; returns what went.

    What does not cover and hold as much as the joined part has of it stays.

    Raises:
        DamagedError: the joined part is damaged; nothing was removed.
    """
    held, removed = _all_read(manifests, found.path), []
    for path in found.parts:
        name = name_of(path)
        if name not in held or _span(manifests, path) == held[name]:
            manifests.workspace.remove(path)
            removed.append(path)
    return removed


def _all_read(manifests: Manifests, path: str) -> dict[str, Span]:
    """What a joined part holds, once all of it was read."""
    workspace, url = manifests.workspace, manifests.workspace.url(path)
    with open_part(workspace, path) as file:
        for _ in file.iter_batches(table_of(file.schema_arrow).rows_a_group):
            pass
        return {span.name: span for span in spans_of(file, path, url)}


def _span(manifests: Manifests, path: str) -> Span:
    with open_part(manifests.workspace, path) as file:
        [span] = spans_of(file, path, manifests.workspace.url(path))
        return span
