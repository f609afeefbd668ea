"""The listening audit: is what was extracted from a corpus of its own silent? → ``audits``.

The thresholds were calibrated on labelled songs, which say little about someone else's corpus. So
a person hears a sample, stratified by source and score, and answers.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from prefect import flow
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field, create_model

from demucs_core.extraction.audit import draw, strata_of
from flows.audit.options import AuditParameters
from flows.audit.result import summarise
from flows.reports.artifacts import Report
from flows.running.execution import pending_batches
from flows.running.stage import StageResult, StageRun, stage_run
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import AUDITS
from storage.tables.sql import any_of, reading
from storage.workspace import Workspace

STAGE, VERSION = "audit", 1
POLL_S = 2
Answer = Literal["silent", "heard", "can't tell"]


@dataclass(frozen=True)
class Clip:
    """A segment to listen to for one source.

    Attributes:
        row: of ``audits``, less the answer.
        path: of the track's audio.
        start_sample: where the segment starts in it.
        stop_sample: one past its end.
    """

    row: dict[str, Any]
    path: str
    start_sample: int
    stop_sample: int

    @property
    def name(self) -> str:
        """Name among the items of the manifest."""
        return f"{self.row['segment_id']}/{self.row['source']}"

    def audio(self, reader: CropReader) -> np.ndarray:
        """The whole segment, ``(C, T)``."""
        return reader(self.path, self.start_sample, self.stop_sample - self.start_sample)


@flow(name="audit", flow_run_name="audit {parameters.corpus}")
def audit(parameters: AuditParameters) -> StageResult:
    """Listen to extracted segments, page by page, and say whether the source is silent.

    The run pauses at each page: its report has the players; resume it with the answers.
    """
    with audit_run(parameters) as run:
        clips = draw_clips(run, parameters)
        # answers are kept, even by a forced run: another seed asks anew
        done = run.manifests.items(run.partition(AUDITS.name))
        pages = pending_batches(clips, done, parameters.clips_a_page, lambda clip: clip.name)
        run.plan("clips", sum(map(len, pages)), len(clips), segments_of(run.manifests, parameters))
        for number, page in enumerate(pages, 1):
            _show(run, page, f"page {number} of {len(pages)}")
            form = pause_flow_run(_form(page), timeout=parameters.timeout_s, poll_interval=POLL_S)
            given = form.model_dump()
            write_answers(run, {clip.name: given[f"clip_{n}"] for n, clip in enumerate(page)}, page)
        rows = summarise(run, parameters.target_precision, parameters.confidence)
        run.report.table("precision", rows, f"What was heard of the segments of {run.corpus}")
    return run.result()


def audit_run(parameters: AuditParameters) -> AbstractContextManager[StageRun]:
    """A stage run of the audit that the parameters name."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    segments = segments_of(manifests, parameters)
    content = {name: getattr(parameters, name) for name in ("draws", "strata", "seed")}
    # the digest, since the segments of a corpus that grows are another population
    made_from = f"{segments.fingerprint}/{manifests.digest(segments)}"
    name = fingerprint(STAGE, VERSION, segments=made_from, **content)
    return stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    )


def segments_of(manifests: Manifests, parameters: AuditParameters) -> Partition:
    """The segments that are audited."""
    return manifests.latest("segments", parameters.corpus, parameters.segments or None)


def draw_clips(run: StageRun, parameters: AuditParameters) -> list[Clip]:
    """The sample, in an order that tells nothing.

    Raises:
        UserError: there are no segments to hear.
    """
    segments = segments_of(run.manifests, parameters)
    rng = np.random.default_rng(parameters.seed)
    clips = [
        clip
        for source in run.workspace.music.sources
        for clip in _draw_source(run, segments, source, parameters, rng)
    ]
    if not clips:
        raise UserError(f"corpus {segments.corpus!r}: no segments to listen to; extract first")
    return [clips[place] for place in rng.permutation(len(clips))]


def _draw_source(
    run: StageRun,
    segments: Partition,
    source: str,
    parameters: AuditParameters,
    rng: np.random.Generator,
) -> list[Clip]:
    place = f"list_position(silent_sources, '{source}')"
    rows = f"""(
        SELECT *, mean_probability[{place}] AS score, row_number() OVER (ORDER BY segment_id) AS n
        FROM segments WHERE {any_of([segments])} AND {place} > 0
    )"""
    with reading(run.workspace, ("segments",)) as database:
        arrays = database.sql(f"SELECT score, duration_s FROM {rows} ORDER BY n").fetchnumpy()
        scores, seconds = np.asarray(arrays["score"]), np.asarray(arrays["duration_s"])
        if not len(scores):
            return []
        strata = strata_of(scores, seconds, parameters.strata)
        drawn = draw(seconds, strata, parameters.draws, rng)
        chosen = np.flatnonzero(drawn)
        found = database.execute(
            "SELECT segment_id, track_id, path, start_sample, stop_sample "
            f"FROM {rows} WHERE list_contains($places, n) ORDER BY n",
            {"places": (chosen + 1).tolist()},
        ).fetchall()
    clips = []
    for place_of, (segment_id, track_id, path, start, stop) in zip(chosen, found, strict=True):
        inside = strata == strata[place_of]
        row = {
            "segment_id": segment_id,
            "track_id": track_id,
            "source": source,
            "segments_fingerprint": segments.fingerprint,
            "score": float(scores[place_of]),
            "duration_s": float(seconds[place_of]),
            "draws": int(drawn[place_of]),
            "stratum": int(strata[place_of]),
            "stratum_least_score": float(scores[inside].min()),
            "stratum_s": float(seconds[inside].sum()),
        }
        clips.append(Clip(row, path, start, stop))
    return clips


def take_back(run: StageRun, answers: Mapping[str, Answer]) -> set[str]:
    """Take back what was answered otherwise before; returns the names of those clips."""
    partition = run.partition(AUDITS.name)
    before = {
        f"{row['segment_id']}/{row['source']}": row["answer"]
        for row in run.manifests.rows(partition, ["segment_id", "source", "answer"])
    }
    changed = {name for name in answers if before.get(name, answers[name]) != answers[name]}

    def is_changed(batch: pa.RecordBatch) -> pa.BooleanArray:
        names = pc.binary_join_element_wise(batch["segment_id"], batch["source"], "/")  # type: ignore[call-overload]
        hits: pa.BooleanArray = pc.is_in(names, pa.array(sorted(changed), pa.string()))
        return hits

    if changed:
        run.manifests.forget(partition, is_changed, changed, columns=["segment_id", "source"])
        run.count(corrected_answers=len(changed))
    return changed


def write_answers(run: StageRun, answers: Mapping[str, Answer], clips: Sequence[Clip]) -> None:
    """Keep what was answered about some clips."""
    rows = [{**clip.row, "answer": answers[clip.name]} for clip in clips if clip.name in answers]
    if rows:
        run.manifests.write(run.partition(AUDITS.name), list(answers), rows)
    run.count(new_answers=len(rows))


def _show(run: StageRun, page: Sequence[Clip], title: str) -> None:
    """An artifact with a player for each clip."""
    report = Report(run.workspace, STAGE, f"{run.report.folder.partition('/')[2]}/{title}")
    reader = CropReader(run.workspace.location)
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
