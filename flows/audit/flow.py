"""The listening audit in the Prefect UI: is what was extracted silent in truth? → ``audits``."""

from __future__ import annotations

import html
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from prefect import flow
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field, create_model

from flows.audit.options import AuditParameters
from flows.audit.result import summarise
from flows.audit.sample import (
    STAGE,
    Answer,
    Clip,
    audit_of,
    draw_clips,
    segments_of,
    write_answers,
)
from flows.reports.artifacts import Report
from flows.running.execution import pending_batches
from flows.running.stage import StageResult, StageRun, as_told, stage_run
from flows.server.pages import desk_page
from storage.reading import CropReader
from storage.tables.manifests import Manifests
from storage.tables.schemas import AUDITS
from storage.workspace import Workspace

POLL_S = 2


@flow(name="audit", flow_run_name="audit {parameters.corpus}")
@as_told
def audit(parameters: AuditParameters) -> StageResult:
    """Listen to extracted segments, page by page, and say whether the source is silent.

    The run pauses at each page: its report has the players; resume it with the answers.
    """
    with audit_run(parameters) as run:
        clips = draw_clips(run.manifests, parameters)
        # answers are kept, even by a forced run: another seed asks anew
        done = run.manifests.items(run.partition(AUDITS.name))
        pages = pending_batches(clips, done, parameters.clips_a_page, lambda clip: clip.name)
        run.plan("clips", sum(map(len, pages)), len(clips), segments_of(run.manifests, parameters))
        for number, page in enumerate(pages, 1):
            if not _left(run, page):  # they were answered elsewhere meanwhile
                continue
            _show(run, parameters, page, f"page {number} of {len(pages)}")
            form = pause_flow_run(_form(page), timeout=parameters.timeout_s, poll_interval=POLL_S)
            given = form.model_dump()
            answers: dict[str, Answer] = {
                clip.name: given[f"clip_{n}"] for n, clip in enumerate(page)
            }
            left = _left(run, page)
            kept = {clip.name: answers[clip.name] for clip in left}
            run.count(
                new_answers=write_answers(run.manifests, run.partition(AUDITS.name), kept, left)
            )
        rows = summarise(run, parameters.target_precision, parameters.confidence)
        run.report.table("precision", rows, f"What was heard of the segments of {run.corpus}")
    return run.result()


def audit_run(parameters: AuditParameters) -> AbstractContextManager[StageRun]:
    """A stage run of the audit that the parameters name."""
    workspace = Workspace(parameters.workspace)
    name = audit_of(Manifests(workspace), parameters).fingerprint
    return stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    )


def _left(run: StageRun, page: Sequence[Clip]) -> list[Clip]:
    """The clips of a page that have no answer yet."""
    done = run.manifests.items(run.partition(AUDITS.name))
    return [clip for clip in page if clip.name not in done]


def _show(run: StageRun, parameters: AuditParameters, page: Sequence[Clip], title: str) -> None:
    """An artifact with a player for each clip."""
    report = Report(run.workspace, STAGE, f"{run.report.folder.partition('/')[2]}/{title}")
    reader = CropReader(run.workspace.location)
    # these segments, whatever is extracted meanwhile
    segments = segments_of(run.manifests, parameters).fingerprint
    question = {**parameters.question(), "segments": segments}
    if desk := desk_page(run.workspace, run.corpus, question):
        report.text(
            f"[Answer by keyboard, with spectrograms]({desk}): what is answered there is kept at "
            "once, and not asked here again. Then cancel this run, or resume it:"
        )
    report.text("Resume the run to answer. A player holds at most the first 12 seconds.")
    for number, clip in enumerate(page):
        sample_rate = run.workspace.music.sample_rate
        report.player(
            clip.row["segment_id"], clip.audio(reader), sample_rate, _question(number, clip)
        )
    report.publish(f"Listening audit of {run.corpus}, {title}")


def _question(number: int, clip: Clip) -> str:
    return f"{number + 1}. Is the source **{html.escape(clip.row['source'])}** silent?"


def _form(page: Sequence[Clip]) -> type[RunInput]:
    fields: dict[str, Any] = {
        f"clip_{number}": (
            Answer,
            Field(
                title=f"{number + 1}. {clip.row['source']}",
                description=f"Is the source {clip.row['source']} silent in player {number + 1}?",
            ),
        )
        for number, clip in enumerate(page)
    }
    form: type[RunInput] = create_model("Answers", __base__=RunInput, **fields)
    return form
