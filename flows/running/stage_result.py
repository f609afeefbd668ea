"""What a stage had to do, and what came of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Plan(BaseModel):
    """What a stage has to do.

    Attributes:
        unit: what it counts.
        pending: how many are left to do.
        total: how many there are.
        reads: the partitions, files or detectors it reads.
    """

    unit: str
    pending: int
    total: int
    reads: list[str]

    def __str__(self) -> str:
        return f"{self.pending} of {self.total} {self.unit}, from {', '.join(self.reads)}"


class StageResult(BaseModel):
    """What a stage made: enough to find it, and to print a line about it.

    Attributes:
        stage: its name.
        corpus: on which it worked.
        fingerprint: of what it made.
        counts: what went in and what came out.
        already_done: whether there was nothing left to do.
        notes: what a person should know of it, a sentence each.
        plan: what there was to do.
        waits_for: in a dry run of the chain, the stage that has to run before more can be told.
    """

    stage: str
    corpus: str
    fingerprint: str
    counts: dict[str, float] = {}
    already_done: bool = False
    notes: list[str] = []
    plan: Plan | None = None
    waits_for: str = ""


class StageResults(BaseModel):
    """What a stage made that works on several things at once, such as models.

    Attributes:
        results: a result a thing.
    """

    results: list[StageResult]


def results_in(made: Any) -> list[StageResult]:
    """The results in what a flow returned: one, several, or none of a flow that writes nothing."""
    if isinstance(made, StageResults):
        return made.results
    return [made] if isinstance(made, StageResult) else []
