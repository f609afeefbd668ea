"""What stages made, or would make, for the terminal: a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from flows.reports.durations import spell
from flows.reports.terminal_table import print_table
from flows.running.stage_result import StageResult
from storage.printable import shown

if TYPE_CHECKING:
    from flows.pipeline.expected import Expected

LONG_S = 3 * 86_400
"""A training that takes longer was not meant for this machine."""


def print_plans(results: Sequence[StageResult], console: Console) -> None:
    """A line a stage of a dry run: what it would make, how much is left to do, from what."""
    rows = []
    for result in results:
        todo, reads = f"known once {result.waits_for} has run", ""
        if (plan := result.plan) is not None:
            todo = f"{plan.pending} of {plan.total} {plan.unit}"
            reads = ", ".join(plan.reads)
        rows.append([result.stage, result.corpus, result.fingerprint, todo, reads])
    print_table(console, ["stage", "corpus", "makes", "to do", "from"], rows)


def print_expected(rows: Sequence[Expected], console: Console) -> None:
    """A line a stage that is about to run: how much there is, and about how long it takes."""
    table = []
    for row in rows:
        about = "nobody knows" if row.seconds is None else f"about {spell(row.seconds)}"
        table.append([row.stage, row.work, about, row.known_from])
    print_table(console, ["stage", "all there is", "takes", "as known from"], table)
    if any(row.stage == "train" and (row.seconds or 0) > LONG_S for row in rows):
        console.print(
            "The training is one for GPUs. Here, take fewer steps (--train.steps) of a smaller "
            "model (--train.channels, --train.depth), as --train.preset demo has them, or end "
            "before it (--until remix).",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def print_results(results: Sequence[StageResult], console: Console) -> None:
    """A line a stage: what it made."""
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "corpus", "made", "counts"):
        table.add_column(heading, overflow="fold")
    for result in results:
        counts = ", ".join(f"{name} {value:g}" for name, value in result.counts.items())
        made = f"{result.fingerprint}{' (was done)' if result.already_done else ''}"
        table.add_row(result.stage, result.corpus, made, counts)
    console.print(table)
    for result in results:
        for note in result.notes:
            line = shown(f"{result.stage} {result.corpus}: {note}")
            console.print(line, markup=False, highlight=False)
