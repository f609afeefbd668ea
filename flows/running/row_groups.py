"""Which row groups of a partition a stage has still to work on.

A partition of millions of rows is worked on a row group at a time, and what came of one is a part
of its own, named after what it covers. So a listing says which are done, and the names that a part
covers are read only of parts that cover something else, such as what a killed run left over.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from flows.running.dividing import Divisible, halved
from flows.running.rejects import reject_killer
from flows.running.stage import StageRun
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
    if run.force:
        everything = {
            name for _, names in manifests.names_in_groups(source, column) for name in names
        }
        kept = run.done(target, everything)
        return _beside(run, source, column, kept)
    parts = set(manifests.parts(target))
    groups, total = [], 0
    for group, names in manifests.names_in_groups(source, column):
        total += len(names)
        path = part_path(target, names)
        if path in parts:
            parts.remove(path)
        elif names:
            groups.append(PendingGroup(group, frozenset(), len(names)))
    if not (groups and parts):
        return PendingGroups(groups, total)
    wanted = {found.group for found in groups}
    found = _beside(run, source, column, manifests.items_of(sorted(parts)))
    return PendingGroups([each for each in found.groups if each.group in wanted], total)


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


def _beside(run: StageRun, source: Partition, column: str, done: set[str]) -> PendingGroups:
    """The row groups that hold names beside those that are done."""
    groups, total = [], 0
    for group, names in run.manifests.names_in_groups(source, column):
        total += len(names)
        there = done.intersection(names)
        if len(there) < len(names):
            groups.append(PendingGroup(group, frozenset(there), len(names) - len(there)))
    return PendingGroups(groups, total)
