"""Which rows of ``remixes`` tell about which source: a file of row numbers, made in one pass.

Memory holds one pool at a time, in a few bytes a recipe, since they are sorted pool by pool. Their
order depends on the recipes' names alone, and not on the parts that they lie in.
"""

from __future__ import annotations

import json
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from demucs_core.training.recipes import taught_sources
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition, RowGroup

Pool = tuple[int, tuple[int, ...]]
"""A source that recipes tell about, and the sources that are silent in them."""

NAME_BYTES = 24
"""How much of a recipe's name decides its place; ours are no longer."""
_ENTRY = np.dtype([("order", "<u8"), ("row", "<u4")])
_ROW = np.dtype("<u4")
_LENGTH = np.dtype("<u8")


@dataclass
class _Run:
    """Entries of one pool that lie together in the scratch file."""

    offset: int
    count: int


@dataclass
class RecipeIndex:
    """An index that is open for reading.

    Attributes:
        file: where it lies; row numbers are read from it one by one.
        pools: of each pool, the place of its first row number and how many there are.
        groups: the row groups, in order.
        first_rows: the number of each one's first row.
        num_rows: of all.
    """

    file: BufferedIOBase
    pools: dict[Pool, tuple[int, int]]
    groups: list[RowGroup]
    first_rows: list[int]
    num_rows: int
    _start: int = field(default=0, kw_only=True)

    @classmethod
    def read(cls, file: BufferedIOBase) -> RecipeIndex:
        """Open what :func:`write_index` wrote."""
        [length] = np.frombuffer(os.pread(file.fileno(), _LENGTH.itemsize, 0), _LENGTH).tolist()
        head = json.loads(os.pread(file.fileno(), length, _LENGTH.itemsize))
        return cls(
            file=file,
            pools={
                (source, tuple(silent)): (first, count)
                for source, silent, first, count in head["pools"]
            },
            groups=[RowGroup(path, index) for path, index, _ in head["groups"]],
            first_rows=[first for _, _, first in head["groups"]],
            num_rows=head["rows"],
            _start=_LENGTH.itemsize + length,
        )

    def place(self, pool: Pool, number: int) -> tuple[RowGroup, int]:
        """The row group that holds a recipe of a pool, and its row among the current ones there."""
        offset = self._start + (self.pools[pool][0] + number) * _ROW.itemsize
        [row] = np.frombuffer(os.pread(self.file.fileno(), _ROW.itemsize, offset), _ROW).tolist()
        group = bisect_right(self.first_rows, row) - 1
        return self.groups[group], row - self.first_rows[group]


def write_index(manifests: Manifests, remixes: Partition, file: BufferedIOBase) -> None:
    """Index the current rows of a partition.

    Raises:
        UserError: a recipe has sources that the workspace has not.
    """
    runs: dict[Pool, list[_Run]] = {}
    groups: list[tuple[str, int, int]] = []
    num_rows = 0
    with tempfile.TemporaryFile(prefix="silentmix-") as scratch:
        for group in manifests.row_groups(remixes):
            groups.append((group.path, group.index, num_rows))
            columns = manifests.row_group_fields(
                group, ["remix_id", "silent_sources"], ["added.list.element.source"]
            )
            for batch in columns:
                for pool, entries in _entries(batch, manifests.workspace.music.sources, num_rows):
                    runs.setdefault(pool, []).append(_Run(scratch.tell(), len(entries)))
                    scratch.write(entries.tobytes())
                num_rows += len(batch)
        scratch.flush()
        pools, first = [], 0
        for source, silent in sorted(runs):
            count = sum(run.count for run in runs[source, silent])
            pools.append((source, silent, first, count))
            first += count
        head = json.dumps({"pools": pools, "groups": groups, "rows": num_rows}).encode()
        file.write(np.array([len(head)], _LENGTH).tobytes() + head)
        for pool in sorted(runs):
            entries = np.concatenate(list(_read(scratch, runs[pool])))
            order = np.argsort(entries["order"], kind="stable")
            file.write(entries["row"][order].tobytes())


def _read(scratch: IO[bytes], runs: Sequence[_Run]) -> Iterator[NDArray[np.void]]:
    for run in runs:
        content = os.pread(scratch.fileno(), run.count * _ENTRY.itemsize, run.offset)
        yield np.frombuffer(content, _ENTRY)


def _entries(
    batch: pa.RecordBatch, sources: Sequence[str], first_row: int
) -> Iterator[tuple[Pool, NDArray[np.void]]]:
    """The rows of a batch by pool, each as often as it tells about a source."""
    silent = _bits(batch["silent_sources"], sources)
    added = batch["added"]
    names = pc.struct_field(pc.list_flatten(added), "source")
    filled = _bits_of(names, pc.list_parent_indices(added), len(batch), sources)
    entries = np.empty(len(batch), _ENTRY)
    entries["order"] = _order(batch["remix_id"])
    entries["row"] = np.arange(first_row, first_row + len(batch))
    kinds, kind_of = np.unique(silent << 32 | filled, return_inverse=True)
    for index, kind in enumerate(kinds.tolist()):
        is_silent, is_filled = _members(kind >> 32), _members(kind & 0xFFFFFFFF)
        chosen = entries[kind_of == index]
        for source in taught_sources(is_silent, is_filled, len(sources)):
            yield (source, is_silent), chosen


def _bits(lists: pa.Array[Any], sources: Sequence[str]) -> NDArray[np.int64]:
    return _bits_of(pc.list_flatten(lists), pc.list_parent_indices(lists), len(lists), sources)


def _bits_of(
    names: pa.Array[Any], rows: pa.Array[Any], num_rows: int, sources: Sequence[str]
) -> NDArray[np.int64]:
    """Of each row, the sources that are named in it, a bit each."""
    places = pc.index_in(names, pa.array(sources, pa.string()))
    if places.null_count:
        unknown = names.filter(places.is_null())[0]
        raise UserError(
            f"recipes speak of the source {unknown}, and the workspace has {', '.join(sources)}; "
            "make them anew with `silentmix remix`"
        )
    bits = np.zeros(num_rows, np.int64)
    np.bitwise_or.at(bits, rows.to_numpy(), np.int64(1) << places.to_numpy().astype(np.int64))
    return bits


def _members(bits: int) -> tuple[int, ...]:
    return tuple(place for place in range(bits.bit_length()) if bits >> place & 1)


def _order(names: pa.Array[Any]) -> NDArray[np.uint64]:
    """A number for each name, which differs where they differ in their first 24 bytes."""
    padded = pc.utf8_rpad(names, NAME_BYTES, "\0").cast(pa.binary())
    fixed = pc.binary_slice(padded, 0, NAME_BYTES).cast(pa.binary(NAME_BYTES))
    content: bytes = b"".join(fixed.to_pylist())  # type: ignore[arg-type]
    words = np.frombuffer(content, "<u8")
    mixed = np.zeros(len(fixed), np.uint64)
    for word in words.reshape(-1, 3).T:
        mixed = (mixed ^ word) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
