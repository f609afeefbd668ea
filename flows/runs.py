"""What ran, from the manifest ``runs``: who made something, and what came out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from storage.manifests import Manifests
from storage.schemas import RUNS

PENDING = "pending"
"""Among the counts: how much a run had to do; one that found all of it done made nothing."""


@dataclass(frozen=True)
class PastRun:
    """A stage run that ended well.

    Attributes:
        corpus: on which it worked.
        fingerprint: of what it made.
        stage: its name.
        flow_run_id: Prefect's, or empty.
        parameters: as JSON.
        started_at: when.
        counts: what went in and what came out.
    """

    corpus: str
    fingerprint: str
    stage: str
    flow_run_id: str
    parameters: str
    started_at: datetime
    counts: dict[str, float]

    @property
    def made_something(self) -> bool:
        """Whether it had anything to do."""
        return self.counts.get(PENDING, 1) > 0


def completed_runs(manifests: Manifests, fingerprint: str | None = None) -> list[PastRun]:
    """The runs that ended well, of one fingerprint or all, oldest first."""
    columns = ["stage", "flow_run_id", "parameters", "started_at", "counts", "outcome"]
    found = []
    for partition in manifests.partitions(RUNS.name):
        if fingerprint not in (None, partition.fingerprint):
            continue
        for row in manifests.rows(partition, columns):
            if row.pop("outcome") == "completed":
                row["counts"] = json.loads(row["counts"])
                found.append(PastRun(partition.corpus, partition.fingerprint, **row))
    return sorted(found, key=lambda run: run.started_at)


def maker(manifests: Manifests, fingerprint: str) -> PastRun | None:
    """The last run that made something of a fingerprint."""
    runs = completed_runs(manifests, fingerprint)
    return next((run for run in reversed(runs) if run.made_something), None)
