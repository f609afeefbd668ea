"""What ran, from the manifest ``runs``: who made something, and what came out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from storage.damage import damaged
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import ACTIVITY, RUNS, STEMS

PENDING = "pending"
"""Among the counts: how much a run had to do; one that found all of it done made nothing."""


PARTS = "parts_of_"
"""Among the counts, before a table's name: how many parts of it there were when the run ended, each
that was joined since counted by itself. What a run wrote into another partition than its own has
``@CORPUS/FINGERPRINT`` after that name."""


READ_WITH = {STEMS.name: (ACTIVITY.name,)}
"""Manifests that are read along with another one, of the same corpus and fingerprint."""


@dataclass(frozen=True)
class PastRun:
    """A stage run that ended well.

    Attributes:
        corpus: on which it worked.
        fingerprint: of what it made.
        run_id: its own name, that of the folder of its report.
        stage: its name.
        flow_run_id: Prefect's, or empty.
        parameters: as JSON.
        started_at: when.
        counts: what went in and what came out.
    """

    corpus: str
    fingerprint: str
    run_id: str
    stage: str
    flow_run_id: str
    parameters: str
    started_at: datetime
    counts: dict[str, float]

    @property
    def made_something(self) -> bool:
        """Whether it had anything to do."""
        return self.counts.get(PENDING, 1) > 0


def runs_of(manifests: Manifests, partition: Partition) -> Iterator[PastRun]:
    """The runs of one partition that ended well, newest first; read as far as they are asked for.

    A run is a part of its own, so the last one costs a listing and a part, however many there are.
    """
    columns = ["run_id", "stage", "flow_run_id", "parameters", "started_at", "counts", "outcome"]
    for batch in manifests.scan(partition, columns, newest_first=True):
        rows = sorted(batch.to_pylist(), key=lambda row: row["started_at"], reverse=True)
        for row in rows:
            if row.pop("outcome") == "completed":
                row["counts"] = json.loads(row["counts"])
                yield PastRun(partition.corpus, partition.fingerprint, **row)


def parts_left(
    manifests: Manifests, runs: Partition, written: Iterable[Partition]
) -> dict[str, float]:
    """What a run that ends counts of the parts of what it wrote.

    Of what only runs before it wrote into partitions of another name, it keeps their counts.

    Args:
        manifests: of the workspace.
        runs: the partition of the run's own record.
        written: its partitions.
    """
    counts: dict[str, float] = {}
    with suppress(UserError):  # a damaged record stops no run
        last = next(runs_of(manifests, runs), None)
        before = {} if last is None else last.counts
        counts = {
            name: left for name, left in before.items() if name.startswith(PARTS) and "@" in name
        }
    for partition in written:
        name = f"{PARTS}{partition.table}"
        if replace(runs, table=partition.table) != partition:
            name += f"@{partition.corpus}/{partition.fingerprint}"
        counts[name] = manifests.num_written(partition)
    return {name: left for name, left in counts.items() if left}


def _of_count(runs: Partition, name: str) -> Partition | None:
    """The partition whose parts are counted by that name; None where something else is."""
    if not name.startswith(PARTS):
        return None
    table, _, elsewhere = name.removeprefix(PARTS).partition("@")
    corpus, _, made = elsewhere.partition("/")
    return Partition(table, corpus or runs.corpus, made or runs.fingerprint)


def lost_parts(
    manifests: Manifests, runs: Partition, *tables: str
) -> Iterator[tuple[Partition, str]]:
    """Of which partitions parts are gone since a run left them there, and how many, in words.

    Nothing that ends well leaves fewer parts than there were: these were deleted, or were put away
    by ``fsck --repair``, whose commands make them again.

    Args:
        manifests: of the workspace.
        runs: the runs that made the partitions.
        tables: those to look at; all by default.
    """
    if (last := next(runs_of(manifests, runs), None)) is None:
        return
    for name, left in last.counts.items():
        partition = _of_count(runs, name)
        if partition is None or (tables and partition.table not in tables):
            continue
        if (gone := int(left) - manifests.num_written(partition)) > 0:
            yield partition, f"{gone} of {left:g} parts that {last.stage} left there are missing"


def require_all_parts(manifests: Manifests, partition: Partition, made_by: str = "") -> None:
    """Refuse to work on what is left of a partition.

    Args:
        manifests: of the workspace.
        partition: what is to be read.
        made_by: the fingerprint of the runs that wrote it, where it has another.

    Raises:
        DamagedError: parts of it are gone.
    """
    runs = Partition(RUNS.name, partition.corpus, made_by or partition.fingerprint)
    found: list[tuple[Partition, str]] = []
    tables = (partition.table, *READ_WITH.get(partition.table, ()))
    with suppress(UserError):  # a damaged record stops no run
        found = [*lost_parts(manifests, runs, *tables)]
    for part, lost in found:
        raise damaged(manifests.workspace.url(part.folder), lost)


def after_all(manifests: Manifests, corpus: str, now: datetime) -> datetime:
    """A time for what is recorded now: that, or right after the last run of a corpus on record.

    Clocks are set back, and of two records the later one holds.
    """
    for partition in manifests.partitions(RUNS.name, corpus):
        with suppress(UserError):  # a damaged record stops no run
            columns = ["started_at", "duration_s"]
            batch = next(manifests.scan(partition, columns, newest_first=True), None)
            for row in batch.to_pylist() if batch is not None else ():
                took = timedelta(seconds=row["duration_s"], microseconds=1)
                now = max(now, row["started_at"] + took)
    return now


def last_runs(manifests: Manifests, stages: Collection[str]) -> list[PastRun]:
    """The last run of one of some stages in each corpus with each fingerprint, oldest first."""
    found: list[PastRun] = []
    for partition in manifests.partitions(RUNS.name):
        runs = runs_of(manifests, partition)
        found += itertools.islice((run for run in runs if run.stage in stages), 1)
    return sorted(found, key=lambda run: run.started_at)


def maker(manifests: Manifests, fingerprint: str) -> PastRun | None:
    """The last run that made something of a fingerprint."""
    partitions = manifests.partitions(RUNS.name)
    of_it = (found for found in partitions if found.fingerprint == fingerprint)
    runs = itertools.chain.from_iterable(runs_of(manifests, found) for found in of_it)
    return next((run for run in runs if run.made_something), None)
