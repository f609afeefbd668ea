"""``silentmix compact``: the many small parts of manifests become few large ones.

What was joined stays for :data:`KEPT_FOR`, since somebody may have listed it before, and for as
long as a run is under way that began in that time, such as a training that draws from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from prefect import flow
from prefect.artifacts import create_table_artifact
from rich.console import Console

from flows.compact.options import CompactParameters
from flows.reports.terminal_table import print_table
from flows.running.stage import as_told
from flows.running.turns import Turn, nobody_since
from flows.running.under_way import new_run_id
from storage.errors import UserError
from storage.tables.compaction import (
    JOINABLE,
    Outlived,
    OvertakenError,
    join,
    outlived,
    remove_outlived,
    to_join,
)
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

STAGE = "compact"
KEPT_FOR = timedelta(days=1)
MEGABYTE = 1e6


@dataclass(frozen=True)
class Amount:
    """Parts, and the bytes of their files."""

    parts: int = 0
    num_bytes: int = 0

    @classmethod
    def of(cls, paths: Iterable[str], sizes: Mapping[str, int]) -> Amount:
        """That of some parts; one that was taken away meanwhile has no bytes any more."""
        found = [sizes.get(path, 0) for path in paths]
        return cls(len(found), sum(found))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.parts + other.parts, self.num_bytes + other.num_bytes)

    def __str__(self) -> str:
        return f"{self.parts:,} ({self.num_bytes / MEGABYTE:,.1f} MB)"


@dataclass
class OfTable:
    """What came of one manifest.

    Attributes:
        before: the parts that readers saw.
        after: those that they see now.
        removed: parts that were replaced before.
        kept: parts that are replaced, and are there still.
    """

    before: Amount = field(default_factory=Amount)
    after: Amount = field(default_factory=Amount)
    removed: Amount = field(default_factory=Amount)
    kept: Amount = field(default_factory=Amount)


@dataclass
class Compaction:
    """What came of it, or would come.

    Attributes:
        dry_run: whether all is as it was.
        tables: of each manifest of which something was joined or removed.
        left: folders that were left alone, since somebody wrote such manifests.
    """

    dry_run: bool
    tables: dict[str, OfTable] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, str]]:
        """A row a manifest."""
        return [
            {"manifest": name, **{key: str(amount) for key, amount in vars(found).items()}}
            for name, found in self.tables.items()
        ]

    def summary(self) -> str:
        """What the rows say, in a line."""
        fewer = sum(each.before.parts - each.after.parts for each in self.tables.values())
        said = f"{fewer:,} parts fewer" if self.tables else "nothing to join"
        if fewer < 0:
            said = f"{-fewer:,} parts more, since others were written meanwhile"
        would = ", if it were no dry run" if self.dry_run and self.tables else ""
        left = f"; left alone, since they are written: {', '.join(self.left)}" if self.left else ""
        return f"{said}{would}{left}"


@flow(name=STAGE, flow_run_name="compact {parameters.workspace}")
@as_told
def compact(parameters: CompactParameters) -> Compaction:
    """Join the many small parts of manifests, and remove what was joined a day ago.

    Rows, items and digests stay as they are, so that no stage has anything to do again. Where
    somebody writes meanwhile, parts are left as they are.

    Raises:
        DamagedError: a part can't be read; all else is done.
    """
    workspace = Workspace(parameters.workspace)
    manifests, made = Manifests(workspace), Compaction(parameters.dry_run)
    if not parameters.dry_run:
        workspace.sweep("manifests")
    damaged: list[UserError] = []
    for table in JOINABLE:
        for partition in manifests.partitions(table, parameters.corpus or None):
            try:
                _compact(manifests, partition, made)
            except (OvertakenError, FileNotFoundError):
                made.left.append(partition.folder)
            except UserError as error:
                damaged.append(error)
    if not parameters.dry_run:
        create_table_artifact(table=made.rows(), key=STAGE, description=made.summary())
    if damaged:
        raise damaged[0]
    return made


def _compact(manifests: Manifests, partition: Partition, made: Compaction) -> None:
    """Join and remove what there is in one partition, if it is anything."""
    packs = to_join(manifests, partition)
    old = [found for found in outlived(manifests, partition) if _is_due(manifests, found)]
    if not (packs or old):
        return
    of_table = made.tables.setdefault(partition.table, OfTable())
    sizes = _sizes(manifests, partition)
    seen, hidden = manifests.parts(partition), manifests.replaced(partition)
    before = Amount.of(seen, sizes)
    of_table.before += before
    removed: list[str] = []
    if made.dry_run:
        removed += [path for found in old for path in found.parts]
        fewer = sum(len(pack) - 1 for pack in packs)
        of_table.after += Amount(before.parts - fewer, before.num_bytes)
        kept = {*hidden, *(path for pack in packs for path in pack)}.difference(removed)
        of_table.kept += Amount.of(kept, sizes)
    else:
        try:
            _join_and_remove(manifests, partition, packs, removed)
        finally:
            now = _sizes(manifests, partition)
            of_table.after += Amount.of(manifests.parts(partition), now)
            of_table.kept += Amount.of(manifests.replaced(partition), now)
    of_table.removed += Amount.of(removed, sizes)


def _join_and_remove(
    manifests: Manifests,
    partition: Partition,
    packs: Iterable[Sequence[str]],
    removed: list[str],
) -> None:
    """Remove what is due, and join what was planned, while nobody else writes there.

    Raises:
        OvertakenError: somebody does, or did since it was planned.
    """
    with Turn(manifests.workspace, new_run_id(STAGE), partition) as turn:
        for found in outlived(manifests, partition):
            if not turn.goes_on():
                raise OvertakenError(partition.folder)
            if _is_due(manifests, found):
                removed += remove_outlived(manifests, found)
        for pack in packs:
            join(manifests, partition, pack, turn.goes_on)


def _is_due(manifests: Manifests, found: Outlived) -> bool:
    """Whether nobody can have listed any more what a joined part replaces."""
    due_at = found.written_at + KEPT_FOR
    return datetime.now(UTC) >= due_at and nobody_since(manifests.workspace, due_at)


def _sizes(manifests: Manifests, partition: Partition) -> dict[str, int]:
    found = manifests.workspace.sizes_and_times(partition.folder)
    return {path: size for path, (size, _) in found.items()}


def print_compaction(made: Compaction, console: Console) -> None:
    """A line a manifest, for the terminal."""
    rows = made.rows()
    if rows:
        print_table(console, [*rows[0]], ([*row.values()] for row in rows))
    console.print(made.summary(), markup=False, highlight=False, soft_wrap=True)
