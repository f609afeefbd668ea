"""Which row groups of a partition a stage has still to work on.

A partition of millions of rows is worked on a row group at a time, and what came of one is a part
of its own, named after what it covers. So a listing says which are done, and the names that a part
covers are read only of parts that cover something else, such as what a killed run left over, or of
all once some were joined. Of those names, eight bytes each are kept.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from flows.running.dividing import Divisible, halved
from flows.running.rejects import reject_killer
from flows.running.stage import StageRun
from storage.tables.joined import is_joined
from storage.tables.manifests import Manifests, Partition, RowGroup, part_path
from storage.tables.schemas import REJECTS


@dataclass(frozen=True, kw_only=True)
class GroupBatch(Divisible[dict[str, float]]):
    """A row group that one Dask task works on, less what is done.

    Attributes:
        stage: whose work it is.
        column: names of what is done.
        target: what is written.
        row_group: which.
        done: those names in it that are done, or another batch's.
        left_out: ids of tracks that nothing is made of.
    """

    stage: ClassVar[str]
    column: ClassVar[str]
    target: Partition
    row_group: RowGroup
    done: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()

    @property
    @abstractmethod
    def manifests(self) -> Manifests:
        """Where the row group is, and what is written goes."""

    def names(self) -> list[str]:
        """What is to be done."""
        rows = self.manifests.read_row_group(self.row_group, [self.column])
        return [row[self.column] for row in rows if row[self.column] not in self.done]

    def halves(self) -> Sequence[Self]:
        """Two batches of what is to be done; none where it is one name."""
        both = halved(self.names())
        return [replace(self, done=self.done.union(other)) for other in reversed(both)]

    def refused(self, detail: str) -> dict[str, float]:
        """Its one name is a reject."""
        [name] = self.names()
        return reject_killer(self.manifests, self.target, self.stage, name, detail)


@dataclass(frozen=True)
class PendingGroup:
    """A row group of which something is to be done.

    Attributes:
        group: which.
        done: those names in it that are done; mostly none.
        num_pending: how many are not.
    """

    group: RowGroup
    done: frozenset[str]
    num_pending: int


@dataclass(frozen=True)
class PendingGroups:
    """What there is to do.

    Attributes:
        groups: of which something is to be done.
        total: names in all groups, done or not.
    """

    groups: list[PendingGroup]
    total: int

    @property
    def num_pending(self) -> int:
        """How many names are to be done."""
        return sum(group.num_pending for group in self.groups)


def pending_groups(
    run: StageRun, source: Partition, target: Partition, column: str
) -> PendingGroups:
    """The row groups of ``source`` that ``target`` does not cover, or not wholly.

    Args:
        run: where; if it is forced, the parts of ``target`` are taken away first.
        source: what is read.
        target: what is written: a part a row group, which covers the names in ``column``.
        column: names of what is done, each in one row group alone.
    """
    manifests = run.manifests
    kept: Set[str] = frozenset()
    parts = set[str]()
    if run.force:
        all_names = (names for _, names in manifests.names_in_groups(source, column))
        kept = run.done(target, set(itertools.chain.from_iterable(all_names)))
    else:
        parts = set(manifests.parts(target))
    is_by_name = not any(map(is_joined, parts))
    unsure: list[tuple[RowGroup, NDArray[np.int64]]] = []
    total = 0
    for group, names in manifests.names_in_groups(source, column):
        total += len(names)
        path = part_path(target, names) if is_by_name else ""
        if path in parts:
            parts.remove(path)
        elif names:
            unsure.append((group, _hashes(names)))
    covered = manifests.names_of(sorted(parts)) if unsure else ()
    covered_hashes = [_hashes(kept), *map(_hashes, covered)]
    groups: list[PendingGroup] = []
    if _sum(covered_hashes) == _sum([hashes for _, hashes in unsure]):  # all there is, and no more
        return PendingGroups(groups, total)
    done = np.sort(np.concatenate(covered_hashes))
    for group, hashes in unsure:
        is_done = _is_in(hashes, done)
        if is_done.all():
            continue
        rows = manifests.read_row_group(group, [column]) if is_done.any() else []
        there = frozenset(row[column] for row in itertools.compress(rows, is_done))
        groups.append(PendingGroup(group, there, int(np.count_nonzero(~is_done))))
    return PendingGroups(groups, total)


def _hashes(names: Collection[str]) -> NDArray[np.int64]:
    """Eight bytes a name, others in each process.

    That one of ten million names is taken for another happens in one run of a hundred thousand, and
    not in the next.
    """
    return np.fromiter(map(hash, names), np.int64, len(names))


def _sum(hashes: Sequence[NDArray[np.int64]]) -> tuple[int, int]:
    """How many, and their sum: of two collections of names with the same, one has the other's."""
    return sum(map(len, hashes)), sum(int(some.sum()) for some in hashes) % 2**64


def _is_in(values: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values are among others, which are sorted."""
    is_in = np.zeros(len(values), np.bool_)
    if len(among):
        order = np.argsort(values)  # in their order, they are found several times as fast
        places = np.searchsorted(among, values[order])
        is_in[order] = np.take(among, places, mode="clip") == values[order]
    return is_in


def try_groups_again(run: StageRun, batches: Sequence[GroupBatch]) -> None:
    """Take what was rejected of some batches out of ``rejects``: now it is tried again."""
    if run.manifests.parts(run.partition(REJECTS.name)):  # which are seldom there
        run.try_again({name for batch in batches for name in batch.names()})


def left_out_of(
    run: StageRun, source: Partition, chosen: Set[str] | None
) -> dict[RowGroup, frozenset[str]]:
    """The tracks in each row group of ``source`` that are not chosen, where there are any.

    Args:
        run: where.
        source: what is read.
        chosen: ids of tracks; None where all are.
    """
    if chosen is None:
        return {}
    groups = run.manifests.names_in_groups(source, "track_id")
    found = {group: frozenset(names) - chosen for group, names in groups}
    return {group: names for group, names in found.items() if names}
