"""The report that every stage run leaves: what went in, what came out, how long, what was refused.

What is particular to a stage, its plot and its players, it has put into its
:class:`~flows.reports.artifacts.Report` by the time that it is published here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from flows.reports.artifacts import Report
from flows.reports.durations import spell
from flows.reports.file_names import base_name, file_names
from flows.reports.markdown import number, plain, sentence
from flows.running.parameters import UNITS
from flows.running.stage_result import StageResult
from flows.server.pages import (
    CAME_OF_IT,
    OVERVIEW,
    artifact_path,
    key_path,
    leave_link,
    report_of,
    run_path,
)
from storage.tables.manifests import Manifests, Partition
from storage.tables.runs import maker
from storage.tables.schemas import REJECTS, RUNS, TABLES

MAX_REASONS = 6
MAX_EXAMPLES = 3
MADE = re.compile(r"(?:(?:detector|model) |\w+/[^/]+/)(\w+)")
"""How a plan names what a stage has made."""


def publish_report(
    report: Report, result: StageResult, manifests: Manifests, duration_s: float
) -> None:
    """Show a run's report in the UI, and link it with those of the runs whose work it read.

    Args:
        report: with what the stage itself has to show.
        result: what came of the run.
        manifests: of the workspace.
        duration_s: how long it took.
    """
    title = f"{result.stage} {result.corpus}"
    workspace = f"[The workspace as a whole]({key_path(OVERVIEW)})"
    if result.already_done:
        words = f"{_nothing_to_do(result, manifests)}\n\n{workspace}"
        report.show(f"{title}: nothing was left to do", words)
        return
    reads = result.plan.reads if result.plan else []
    pages = {read: page for read in reads if (page := _report_on(manifests, read))}
    links = [
        f"[{plain(read)}]({artifact_path(pages[read])})" if read in pages else plain(read)
        for read in reads
    ]
    report.text(f"{workspace} · this report as files: `{report.folder}/`")
    summary = f"{title}: {_amount(result)} in {spell(duration_s)}"
    shown = report.publish(summary, _head(result, manifests, links))
    if shown is not None:
        for page in dict.fromkeys(pages.values()):
            leave_link(page, f"[{plain(summary)}]({artifact_path(shown)})")


def _report_on(manifests: Manifests, read: str) -> UUID | None:
    """The report of the run that made something that a plan names."""
    named = MADE.fullmatch(read)
    made = maker(manifests, named[1]) if named else None
    return report_of(made) if made else None


def _amount(result: StageResult) -> str:
    plan = result.plan
    return f"{plan.pending:,} of {plan.total:,} {plan.unit}" if plan else "done"


def _head(result: StageResult, manifests: Manifests, reads: Iterable[str]) -> str:
    lines = [
        ("Read", " · ".join(reads)),
        ("Came out", " · ".join(_count(*count) for count in result.counts.items())),
        ("Wrote", " · ".join(f"`{name}`" for name in _made(result, manifests))),
    ]
    head = [f"- **{name}:** {text}" for name, text in lines if text]
    sections = ["\n".join([*head, f"{CAME_OF_IT} nothing yet"])]
    sections += [f"**Note:** {sentence(note)}" for note in result.notes]
    if rejects := _rejects(result, manifests):
        sections += ["### Rejected", rejects]
    return "\n\n".join(sections)


def _count(name: str, value: float) -> str:
    """A count in words.

    >>> _count("sdr_bass_db", -2.5), _count("new_tracks", 1200)
    ('sdr bass **-2.5 dB**', 'new tracks **1,200**')
    """
    words = name.split("_")
    unit = f" {UNITS[words.pop()]}" if len(words) > 1 and words[-1] in UNITS else ""
    return f"{' '.join(words)} **{number(value)}{unit}**"


def _nothing_to_do(result: StageResult, manifests: Manifests) -> str:
    made = maker(manifests, result.fingerprint)
    by = ""
    if made is not None:
        by = f" by the [run of {made.started_at:%Y-%m-%d %H:%M} UTC]({run_path(made.flow_run_id)})"
    total = f"{result.plan.total:,} {result.plan.unit}" if result.plan else "all"
    return (
        f"Nothing was left to do: {total} were done already{by}. Set *force* to make it again; "
        "with other parameters it is made beside what is there."
    )


def _made(result: StageResult, manifests: Manifests) -> list[str]:
    """What there is under the run's fingerprint, as paths in the workspace."""
    workspace = manifests.workspace
    partitions = [
        Partition(name, result.corpus, result.fingerprint) for name in TABLES if name != RUNS.name
    ]
    found = [
        f"{made.table}/{made.corpus}/{made.fingerprint}"
        for made in partitions
        if workspace.exists(made.folder)
    ]
    folders = (f"{kind}/{result.fingerprint}" for kind in ("detectors", "models"))
    return [*(folder for folder in folders if workspace.exists(folder)), *found]


@dataclass
class _Reason:
    """Items refused for one reason: how many, the first ones, and what was said of the first."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    detail: str = ""


def _rejects(result: StageResult, manifests: Manifests) -> str:
    """The top reasons of what is refused under these parameters, by this run or an earlier one."""
    reasons: dict[str, _Reason] = {}
    partition = Partition(REJECTS.name, result.corpus, result.fingerprint)
    for row in manifests.rows(partition, ["stage", "item", "reason", "detail"]):
        if row["stage"] != result.stage:
            continue
        reason = reasons.setdefault(row["reason"], _Reason())
        reason.count += 1
        if len(reason.examples) < MAX_EXAMPLES:
            reason.examples.append(base_name(row["item"]) or row["item"])
            reason.detail = reason.detail or row["detail"]
    if not reasons:
        return ""
    top = sorted(reasons.items(), key=lambda found: -found[1].count)
    examples = {name for _, reason in top[:MAX_REASONS] for name in reason.examples}
    names = file_names(manifests, result.corpus, examples)
    lines = [
        f"- **{plain(name.replace('_', ' '))}**, {reason.count:,}: "
        f"{', '.join(plain(names[item]) for item in reason.examples)} ({plain(reason.detail)})"
        for name, reason in top[:MAX_REASONS]
    ]
    if len(top) > MAX_REASONS:
        lines.append(f"- and {len(top) - MAX_REASONS} more reasons: see the manifest `rejects`")
    return "\n".join(lines)
