"""Stage 3: how likely each source is silent in every track of a corpus → ``scores``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.logging import get_run_logger

from flows.inputs import registry
from flows.inputs.made_for import require_hears
from flows.inputs.songs import HeldOut
from flows.inputs.usable_tracks import usable_tracks
from flows.policy.calibration import fitted_calibration
from flows.policy.likeness import what_is_unlike
from flows.running import devices
from flows.running.chain import Chain
from flows.running.execution import pending_batches, results_of
from flows.running.rejects import reject_row
from flows.running.stage import StageResult, StageRun, as_told, stage_run
from flows.score.options import ScoreParameters
from flows.score.report import report_scores
from storage.fingerprint import fingerprint
from storage.tables.manifests import Partition
from storage.workspace import Workspace

STAGE, VERSION = "score", 1


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
    require_hears(workspace, detector)
    name = scores_fingerprint(detector)
    with stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    ) as run:
        source = run.manifests.latest("tracks", parameters.corpus)
        tracks, leaked = usable_tracks(run.manifests, source, **parameters.selection)
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
    batches = list(
        pending_batches(tracks, done, parameters.batch_tracks, lambda track: str(track["track_id"]))
    )
    num_new = sum(map(len, batches))
    run.plan("tracks", num_new, len(tracks), source, f"detector {detector}")
    run.try_again({track["track_id"] for track in tracks} - done)
    if batches:
        started = time.monotonic()
        _score(run, batches, parameters, detector)
        run.count(scoring_s=round(time.monotonic() - started, 1))
    return num_new


def _score(
    run: StageRun,
    batches: Sequence[Sequence[dict[str, Any]]],
    parameters: ScoreParameters,
    detector: str,
) -> None:
    from flows.inputs import networks  # which imports torch, of no use where nothing is new
    from flows.score.worker import ScoreBatch, score_batch

    most_workers = devices.most_workers(parameters, parameters.device)
    networks.load_detector(run.workspace, detector, "cpu")  # refuse a foreign one before any work
    work = [
        ScoreBatch(
            run.partition("scores"), run.workspace, detector, parameters.device,
            parameters.batch_chunks, tracks,
        )
        for tracks in batches
    ]  # fmt: skip
    with results_of(
        score_batch, work, parameters,
        label=run.stage, unit="tracks", size=lambda batch: len(batch.tracks),
        most_workers=most_workers,
    ) as results:  # fmt: skip
        for counts in results:
            run.count(**counts)


def _reject_leaked(run: StageRun, leaked: dict[str, HeldOut]) -> None:
    for track_id, found in leaked.items():
        detail = f"same music as the labelled {found.split} song {found.song}"
        reject = reject_row(STAGE, track_id, f"labelled_{found.split}", detail)
        run.manifests.write(run.partition("rejects"), [track_id], [reject])
    if leaked:
        run.count(held_out=len(leaked))
        get_run_logger().warning("%d tracks are labelled songs held out: left out", len(leaked))
