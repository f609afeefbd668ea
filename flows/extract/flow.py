"""Stage 4: stretches of a scored corpus in which sources are silent → ``segments``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import flow

from demucs_core.extraction.calibration_result import Calibration
from demucs_core.extraction.segments import ExtractionPolicy, Segment, extract_segments, keep_sure
from flows.audit.result import least_scores
from flows.extract.nearest_policy import why_nothing
from flows.extract.options import ExtractParameters
from flows.inputs import registry
from flows.inputs.selection import selected_tracks
from flows.policy.as_calibrated import as_calibrated
from flows.policy.calibration import as_promised, calibrated
from flows.policy.likeness import what_is_unlike
from flows.reports.file_names import file_names
from flows.reports.markdown import plain
from flows.reports.plots import bars
from flows.reports.silent_minutes import rows_without, silent_minutes
from flows.running.chain import Chain
from flows.running.execution import results_of
from flows.running.rejects import reject_row
from flows.running.row_groups import GroupBatch, left_out_of, pending_groups, try_groups_again
from flows.running.selection_options import SelectionOptions
from flows.running.stage import StageResult, StageRun, as_told, stage_run
from flows.score.flow import scores_fingerprint
from flows.server.pages import desk_page
from storage.fingerprint import fingerprint, short_hash
from storage.music_format import MusicFormat
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

STAGE, VERSION = "extract", 1
PLAYERS = 8
"""In all; but one a source, where there are more of them."""
ROWS_LOOKED_AT = 100_000
"""For segments of other tracks to play, of perhaps millions."""


@dataclass(frozen=True, kw_only=True)
class ExtractBatch(GroupBatch):
    """A row group of scores that one Dask task extracts from, less what is done or not chosen."""

    stage, column = STAGE, "track_id"
    workspace: Workspace
    scores: Partition
    policy: ExtractionPolicy
    thresholds: tuple[float, ...]
    policy_json: str
    least_scores: dict[str, float | None]

    @property
    def manifests(self) -> Manifests:
        """Those of its workspace."""
        return Manifests(self.workspace)


@flow(name="extract", flow_run_name="extract {parameters.corpus}")
@as_told
def extract(parameters: ExtractParameters) -> StageResult:
    """Extract every stretch of a corpus in which a source is silent, as sure as was asked for."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    detector = registry.resolve(workspace, "detectors", parameters.detector)
    parameters = as_calibrated(workspace, detector, parameters)
    scores = manifests.latest("scores", parameters.corpus, scores_fingerprint(detector))
    calibration = calibrated(workspace, detector, parameters, keep=not parameters.dry_run)
    policy = {
        **asdict(parameters.policy),
        "thresholds": dict(zip(workspace.music.sources, calibration.thresholds, strict=True)),
        "target_precision": parameters.target_precision,
        "overridden": calibration.overridden,
    }
    policy_json = json.dumps(policy, sort_keys=True)
    read = {"scores": scores.fingerprint, **parameters.selection}
    name = fingerprint(STAGE, VERSION, **read, policy=policy_json)
    sure: dict[str, float | None] = dict.fromkeys(workspace.music.sources, 0.0)
    if parameters.audit:
        sure = least_scores(
            manifests, parameters.corpus, parameters.audit, name,
            parameters.target_precision, parameters.confidence,
        )  # fmt: skip
        policy_json = json.dumps({**policy, "least_scores": sure}, sort_keys=True)
        name = fingerprint(STAGE, VERSION, **read, policy=policy_json)
    with stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    ) as run:
        segments = run.partition("segments")
        chosen = selected_tracks(manifests, parameters.corpus, **parameters.selection)
        left_out = left_out_of(run, scores, chosen)
        pending = pending_groups(run, scores, segments, "track_id")
        batches = [
            ExtractBatch(
                workspace=workspace, target=segments, scores=scores, row_group=found.group,
                policy=parameters.policy, thresholds=calibration.thresholds,
                policy_json=policy_json, least_scores=sure, done=found.done,
                left_out=left_out.get(found.group, frozenset()),
            )
            for found in pending.groups
        ]  # fmt: skip
        run.plan("tracks", pending.num_pending, pending.total, scores)
        try_groups_again(run, batches)
        with results_of(extract_batch, batches, parameters, label=STAGE, unit="batches") as results:
            for counts in results:
                run.count(**counts)
        minutes = silent_minutes(manifests, segments)
        if missed := [source for source, found in minutes.items() if not found]:
            run.warn(*why_nothing(manifests, scores, detector, parameters, missed))
        run.warn(*what_is_unproven(calibration, minutes))
        if batches:
            run.warn(*what_is_unlike(manifests, detector, scores))
        _summarise(run, segments, minutes)
    return run.result()


def what_is_unproven(calibration: Calibration, minutes: Mapping[str, float]) -> list[str]:
    """For sources that are extracted with no promise, or a lower one, what evidence is missing.

    Args:
        calibration: of the detector.
        minutes: that were extracted, a source.
    """
    said = []
    for source in calibration.sources:
        if not minutes.get(source.source):
            continue
        what = f"{minutes[source.source]:.1f} min without {source.source} are extracted"
        if source.overridden:
            said.append(f"{what} with no promise (allow_insufficient_evidence): {source.problem}")
        elif (bound := source.precision_bound or 0.0) < calibration.target_precision:
            said.append(
                f"{what} with a promised precision of {as_promised(bound)}, not "
                f"{calibration.target_precision:g}: fewer songs held out have silences as sure as "
                "these, the surest; surest_share 1 takes all that it is promised of"
            )
    return said


def in_chain(chain: Chain) -> list[ExtractParameters]:
    """The run in the chain: of the music, by the scores of the detector that was fitted."""
    return [
        ExtractParameters(
            **chain.common,
            **chain.options(STAGE),
            **{name: chain.options("score")[name] for name in SelectionOptions.model_fields},
            corpus=chain.parameters.corpus,
            detector=chain.detector(),
        )
    ]


def extract_batch(batch: ExtractBatch) -> dict[str, float]:
    """Extract from one row group of scores, and write its part of ``segments``.

    A track whose scores are no probabilities is rejected.

    Returns:
        How many tracks were read and rejected, and segments found.
    """
    manifests = batch.manifests
    rows_of_group = manifests.read_row_group(batch.row_group)
    tracks = [row for row in rows_of_group if row["track_id"] not in batch.done]
    music = batch.workspace.music
    least = [batch.least_scores[source] for source in music.sources]
    rows, rejects = [], []
    for track in tracks:
        if track["track_id"] in batch.left_out:
            continue
        try:
            segments = extract_segments(
                np.array(track["silence_probability"], dtype=np.float32),
                np.array(track["level_db"], dtype=np.float32),
                batch.thresholds,
                batch.policy,
                num_samples=track["num_samples"],
                hop_samples=track["hop_samples"],
                sample_rate=music.sample_rate,
            )
        except ValueError as error:
            rejects.append(reject_row(STAGE, track["track_id"], "bad_scores", str(error)))
            continue
        rows += [
            segment_row(track, sure, music, batch.scores.fingerprint, batch.policy_json)
            for segment in segments
            if (sure := keep_sure(segment, least)) is not None
        ]
    items = [track["track_id"] for track in tracks]
    if rejects:
        corpus, name = batch.target.corpus, batch.target.fingerprint
        manifests.write(Partition("rejects", corpus, name), items, rejects)
    manifests.write(batch.target, items, rows)
    return {"tracks": len(tracks), "rejected": len(rejects), "new_segments": len(rows)}


def segment_row(
    track: dict[str, Any],
    segment: Segment,
    music: MusicFormat,
    scores_fingerprint: str,
    policy_json: str,
) -> dict[str, Any]:
    """A segment as its row in ``segments``."""
    silent = [music.sources[index] for index in segment.silent]
    key = f"{track['track_id']}/{segment.start_sample}/{segment.stop_sample}/{'+'.join(silent)}"
    return {
        "segment_id": short_hash(key, 20),
        "track_id": track["track_id"],
        "path": track["path"],
        "track_num_samples": track["num_samples"],
        "start_sample": segment.start_sample,
        "stop_sample": segment.stop_sample,
        "duration_s": (segment.stop_sample - segment.start_sample) / music.sample_rate,
        "silent_sources": silent,
        "mean_probability": segment.mean_probability,
        "min_probability": segment.min_probability,
        "level_db": segment.level_db,
        "detector_id": track["detector_id"],
        "scores_fingerprint": scores_fingerprint,
        "policy": policy_json,
    }


def _summarise(run: StageRun, segments: Partition, minutes: dict[str, float]) -> None:
    run.counts.update({f"{source}_minutes": round(value, 2) for source, value in minutes.items()})
    run.counts["segments"] = run.manifests.count(segments)
    if run.already_done:
        return
    bars(run.report, "minutes", minutes, "minutes", "Minutes in which a source is silent")
    desk = desk_page(run.workspace, run.corpus, {"segments": run.fingerprint})
    if desk and run.counts["segments"]:
        run.report.text(f"[Check by ear, by keyboard]({desk})")
    sample_rate = run.workspace.music.sample_rate
    examples = segments_to_play(
        run.manifests, segments, [name for name in minutes if minutes[name]]
    )
    names = file_names(run.manifests, segments.corpus, {row["track_id"] for row in examples})
    for row in examples:
        start, stop = row["start_sample"], row["stop_sample"]
        audio = CropReader(run.workspace.location)(row["path"], start, stop - start)
        silent = ", ".join(row["silent_sources"])
        run.report.player(
            row["segment_id"], audio, sample_rate,
            f"no **{silent}**: {row['duration_s']:.1f} s from {start / sample_rate:.1f} s of "
            f"{plain(names[row['track_id']])}",
        )  # fmt: skip


def segments_to_play(
    manifests: Manifests, segments: Partition, sources: Sequence[str]
) -> Sequence[dict[str, Any]]:
    """Segments without each of the sources that some are without: the first ones, a track each.

    A source that is silent in no other track has the first segment without it all the same.
    """
    each = max(1, PLAYERS // len(manifests.workspace.music.sources))
    found: dict[str, list[dict[str, Any]]] = {source: [] for source in sources}
    spare: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    num_rows = 0
    for batch in manifests.scan(segments):
        tracks = batch["track_id"].to_pylist()
        for source in sources:
            for row in rows_without(batch["silent_sources"], source).tolist():
                if len(found[source]) == each:
                    break
                if source not in spare:
                    spare[source] = _row(batch, row)
                if tracks[row] not in seen:
                    seen.add(tracks[row])
                    found[source].append(_row(batch, row))
        num_rows += len(batch)
        enough = all(len(rows) == each for rows in found.values())
        if enough or (num_rows >= ROWS_LOOKED_AT and len(spare) == len(sources)):
            break
    return [row for source in sources for row in found[source] or [spare[source]]]


def _row(batch: pa.RecordBatch, index: int) -> dict[str, Any]:
    [row] = batch.slice(index, 1).to_pylist()
    return dict(row)
