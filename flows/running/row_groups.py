"""Which row groups of a partition a stage has still to work on.

A partition of millions of rows is worked on a row group at a time, and what came of one is a part
of its own, named after what it covers. So a listing says which are done, and the names that a part
covers are read only of parts that cover something else, such as what a killed run left over.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from flows.running.stage import StageRun
from storage.tables.manifests import Partition, RowGroup, part_path


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
