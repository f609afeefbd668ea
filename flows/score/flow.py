"""Stage 3: how likely each source is silent in every track of a corpus → ``scores``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from prefect import flow
from prefect.logging import get_run_logger

from demucs_core.activity import stream_level_db
from demucs_core.detector.scoring import DEFAULT_CHUNK_FRAMES, score_chunks
from flows.inputs import networks, registry
from flows.inputs.same_music import uncompared_copies
from flows.inputs.selection import selected_tracks
from flows.inputs.songs import HeldOut, held_out_audio
from flows.policy.calibration import fitted_calibration
from flows.policy.likeness import what_is_unlike
from flows.running import devices
from flows.running.chain import Chain
from flows.running.dividing import Divisible, halved
from flows.running.execution import pending_batches, results_of
from flows.running.rejects import reject_damaged, reject_killer, reject_row
from flows.running.selection_options import SelectionOptions
from flows.running.stage import StageResult, StageRun, as_told, stage_run
from flows.score.options import ScoreParameters
from flows.score.report import report_scores
from storage.fingerprint import fingerprint
from storage.reading import AsWritten, CanonicalAudioError, CropReader
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import REJECTS
from storage.workspace import Workspace

STAGE, VERSION = "score", 1


@dataclass(frozen=True)
class ScoreBatch(Divisible[dict[str, float]]):
    """Tracks that one Dask task scores."""

    partition: Partition
    workspace: Workspace
    detector: str
    device: str
    batch_chunks: int
    tracks: Sequence[dict[str, Any]]

    def halves(self) -> Sequence[Self]:
        """Two batches of its tracks; none where it is one track."""
        return [replace(self, tracks=tracks) for tracks in halved(self.tracks)]

    def refused(self, detail: str) -> dict[str, float]:
        """Its one track is a reject."""
        [track] = self.tracks
        manifests = Manifests(self.workspace)
        return reject_killer(manifests, self.partition, STAGE, track["track_id"], detail)


def scores_fingerprint(detector: str) -> str:
    """The fingerprint of the scores that a detector gives."""
    return fingerprint(STAGE, VERSION, detector=detector)


@flow(name="score", flow_run_name="score {parameters.corpus}", log_prints=True)
@as_told
def score(parameters: ScoreParameters) -> StageResult:
    """Score every track of a corpus: probabilities of silence a source, frame by frame."""
    workspace = Workspace(parameters.workspace)
    detector = registry.resolve(workspace, "detectors", parameters.detector)
    parameters = parameters.model_copy(update={"detector": detector})  # which extract goes on with
    networks.load_detector(workspace, detector, "cpu")  # refuse a foreign one before any work
    devices.most_workers(parameters, parameters.device)  # and a device that is not there
    name = scores_fingerprint(detector)
    with stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    ) as run:
        source = run.manifests.latest("tracks", parameters.corpus)
        tracks, leaked = scorable_tracks(run.manifests, source, parameters)
        num_new = score_tracks(run, tracks, source, parameters, detector)
        run.leads_on = bool(tracks)  # of no scores there is nothing to extract
        _reject_leaked(run, leaked)
        if num_new:
            report_scores(run, fitted_calibration(run.manifests, detector))
            run.warn(*what_is_unlike(run.manifests, detector, run.partition("scores")))
    return run.result()


def in_chain(chain: Chain) -> list[ScoreParameters]:
    """The run in the chain: of the music, by the detector that was fitted."""
    return [
        ScoreParameters(
            **chain.common,
            **chain.options(STAGE),
            corpus=chain.parameters.corpus,
            detector=chain.detector(),
        )
    ]


def ahead(chain: Chain) -> None:
    """Refuse a device that is not there."""
    devices.pick_device(chain.options(STAGE)["device"])


def score_tracks(
    run: StageRun,
    tracks: Sequence[dict[str, Any]],
    source: Partition,
    parameters: ScoreParameters,
    detector: str,
) -> int:
    """Score those of a corpus's tracks that are not scored yet; returns how many those were."""
    partition = run.partition("scores")
    done = run.done(partition, {track["track_id"] for track in tracks}, "rejects")
    batches = [
        ScoreBatch(
            partition, run.workspace, detector, parameters.device, parameters.batch_chunks, batch
        )
        for batch in pending_batches(
            tracks, done, parameters.batch_tracks, lambda track: str(track["track_id"])
        )
    ]
    num_new = sum(len(batch.tracks) for batch in batches)
    run.plan("tracks", num_new, len(tracks), source, f"detector {detector}")
    run.try_again({track["track_id"] for track in tracks} - done)
    with results_of(
        score_batch, batches, parameters,
        label=run.stage, unit="tracks", size=lambda batch: len(batch.tracks),
        most_workers=devices.most_workers(parameters, parameters.device),
    ) as results:  # fmt: skip
        started = time.monotonic()
        for counts in results:
            run.count(**counts)
        if batches:
            run.count(scoring_s=round(time.monotonic() - started, 1))
    return num_new


def scorable_tracks(
    manifests: Manifests, source: Partition, selection: SelectionOptions | None = None
) -> tuple[list[dict[str, Any]], dict[str, HeldOut]]:
    """The tracks to score: all that are chosen, less the labelled songs held out among them.

    Ingest refuses or retires those, unless it was killed before it came to that. What it has not
    compared with these songs in whatever sound is compared here.

    Returns:
        The tracks, and for each that is a song held out that song.
    """
    columns = ["track_id", "path", "num_samples", "content_hash"]
    held_out = held_out_audio(manifests)
    chosen = selected_tracks(manifests, source.corpus, **(selection.selection if selection else {}))
    kept: list[dict[str, Any]] = []
    leaked: dict[str, HeldOut] = {}
    for track in sorted(manifests.rows(source, columns), key=lambda row: str(row["track_id"])):
        if chosen is not None and track["track_id"] not in chosen:
            continue
        song = held_out.get(track["content_hash"])
        if song is None:
            kept.append(track)
        else:
            leaked[track["track_id"]] = song
    copies = uncompared_copies(manifests, source)
    leaked |= {
        str(track["track_id"]): copies[track["track_id"]]
        for track in kept
        if track["track_id"] in copies
    }
    return [track for track in kept if track["track_id"] not in copies], leaked


def _reject_leaked(run: StageRun, leaked: dict[str, HeldOut]) -> None:
    for track_id, found in leaked.items():
        detail = f"same music as the labelled {found.split} song {found.song}"
        reject = reject_row(STAGE, track_id, f"labelled_{found.split}", detail)
        run.manifests.write(run.partition("rejects"), [track_id], [reject])
    if leaked:
        run.count(held_out=len(leaked))
        get_run_logger().warning("%d tracks are labelled songs held out: left out", len(leaked))


def score_batch(batch: ScoreBatch) -> dict[str, float]:
    """Score a batch of tracks and write its part of ``scores``; what can't be scored is rejected.

    Returns:
        How many tracks were scored and rejected, and the seconds of music in them.
    """
    device = devices.own_device(batch.device)
    detector = networks.load_detector(batch.workspace, batch.detector, device)
    reader = CropReader(batch.workspace.location)
    damaged: dict[str, CanonicalAudioError] = {}
    rows, rejects, duration_s = [], [], 0.0
    for track in batch.tracks:
        path, num_samples = track["path"], track["num_samples"]
        problem = ""
        try:
            heard = AsWritten(track.get("content_hash", ""), path)
            probability = score_chunks(
                detector,
                lambda start, num, path=path: reader(path, start, num),  # type: ignore[misc]
                num_samples,
                chunk_frames=DEFAULT_CHUNK_FRAMES,
                batch_size=1 if device == "cpu" else batch.batch_chunks,
                device=device,
            )
            blocks = heard.through(reader.blocks(path))
            level_db = stream_level_db(blocks, detector.config.hop_samples)
            heard.require()
            if not np.isfinite(probability).all():
                problem = "the detector gave NaN"
        except CanonicalAudioError as error:
            damaged[track["track_id"]] = error
            continue
        except ValueError as error:  # other I/O errors pass; a retry may help
            problem = f"{type(error).__name__}: {error}"
        if problem:
            rejects.append(reject_row(STAGE, track["track_id"], "not_scored", problem))
            continue
        duration_s += num_samples / detector.config.sample_rate
        rows.append(
            {
                "track_id": track["track_id"],
                "detector_id": batch.detector,
                "path": path,
                "num_samples": num_samples,
                "sources": list(detector.config.sources),
                "hop_samples": detector.config.hop_samples,
                "num_frames": probability.shape[1],
                "silence_probability": list(probability),
                "level_db": level_db,
            }
        )
    items = [track["track_id"] for track in batch.tracks if track["track_id"] not in damaged]
    manifests = Manifests(batch.workspace)
    refused = replace(batch.partition, table=REJECTS.name)
    if rejects:
        manifests.write(refused, items, rejects)
    num_damaged = reject_damaged(manifests, refused, STAGE, damaged)
    if items:
        manifests.write(batch.partition, items, rows)
    return {
        "tracks": len(rows),
        "rejected": len(rejects) + num_damaged,
        "seconds": duration_s,
    }
