"""``silentmix study detector``: how precise the detector is on music like none it has heard.

The real stages run on generated songs (``study_songs``), once an architecture: ingest,
fit-detector, score, extract. What they extract from the test songs is compared with the truth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from prefect import flow

from demucs_core.detector.config import SilenceDetector
from demucs_core.detector.scoring import score_chunks
from demucs_core.extraction.calibration import ScoredSong, calibrate
from demucs_core.extraction.calibration_result import Calibration
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.fit_detector.flow import fit_detector
from flows.fit_detector.options import Architecture, FitDetectorParameters
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import networks
from flows.policy.calibration import calibrated
from flows.running.execution import dask_client
from flows.running.parameters import StageParameters
from flows.score.flow import score, scores_fingerprint
from flows.score.options import ScoreParameters
from flows.studies.detector_options import StudyDetectorParameters
from flows.studies.real_music import quality_on_real_music
from flows.studies.songs import MUSIC, StudySongs, write_study_songs
from flows.studies.truth import SourceQuality, extraction_quality, true_activity
from storage.errors import UserError
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

LABELLED, TEST, REAL = "study-labelled", "study-unseen", "study-real"
SONGS_NOTE = "study-detector.json"
SONG_FIELDS = ("songs", "calibration_songs", "test_songs", "song_s", "seed")
SPEED_S, SPEED_ROUNDS = 60.0, 3
STITCH_FRAMES, STITCHED_SONGS = 80, 5


@dataclass(frozen=True, kw_only=True)
class DetectorFindings:
    """What the study found out about one architecture.

    Attributes:
        architecture: its name.
        detector: name of the detector in the workspace.
        steps: optimiser steps it was fitted for.
        num_weights: numbers that were fitted.
        calibration: thresholds and promises, from the calibration songs.
        quality: what ``extract`` found in the test songs, by source, against the truth.
        test: every threshold on the test songs (for the curves alone: nothing was chosen by it).
        realtime_factor: seconds of audio that one CPU thread scores in a second.
        stitching_error: largest difference of a probability scored in short chunks from that
            scored in one piece.
        real: as ``quality``, of real music; none where none was given.
    """

    architecture: str
    detector: str
    steps: int
    num_weights: int
    calibration: Calibration
    quality: Mapping[str, SourceQuality]
    test: Calibration
    realtime_factor: float
    stitching_error: float
    real: Mapping[str, SourceQuality] | None


@flow(name="study-detector", flow_run_name="study detector")
def study_detector(parameters: StudyDetectorParameters) -> list[DetectorFindings]:
    """Compare the architectures; what an earlier run did in the same workspace is not done again.

    Raises:
        UserError: the workspace is not a local folder, or holds a study of other songs.
    """
    if "://" in parameters.workspace:
        raise UserError(f"--workspace {parameters.workspace}: the study wants a local folder")
    root = Path(parameters.workspace).resolve()
    _refuse_other_songs(Workspace(str(root), create=True, music=MUSIC), parameters)
    songs = write_study_songs(
        root.with_name(f"{root.name}-songs"),
        seed=parameters.seed,
        train=parameters.songs,
        calibration=parameters.calibration_songs,
        test=parameters.test_songs,
        song_s=parameters.song_s,
        workers=parameters.workers,
    )
    place = {"workspace": str(root), "workers": parameters.workers}
    with dask_client(StageParameters.model_validate(place)):
        for corpus, source, labelled in (
            (LABELLED, songs.labelled, True),
            (TEST, songs.unlabelled, False),
            (REAL, parameters.labelled_real, True),
        ):
            if source:
                given = {**place, "corpus": corpus, "source": str(source), "labelled": labelled}
                ingest(IngestParameters.model_validate(given))
        return [
            _study(parameters, place, songs, architecture)
            for architecture in parameters.architectures
        ]


def _refuse_other_songs(workspace: Workspace, parameters: StudyDetectorParameters) -> None:
    """A corpus never loses songs, so a workspace is for one set of them."""
    wanted = {name: getattr(parameters, name) for name in SONG_FIELDS}
    if not workspace.exists(SONGS_NOTE):
        workspace.put_json(SONGS_NOTE, wanted)
        return
    known = workspace.read_json(SONGS_NOTE)
    changed = [name for name in SONG_FIELDS if known[name] != wanted[name]]
    if changed:
        raise UserError(
            f"--workspace {parameters.workspace}: the study in it has "
            + ", ".join(f"{name} {known[name]}" for name in changed)
            + "; choose another workspace for other songs"
        )


def _study(
    parameters: StudyDetectorParameters,
    place: Mapping[str, Any],
    songs: StudySongs,
    architecture: Architecture,
) -> DetectorFindings:
    steps = parameters.waveform_steps if architecture == "demucs-blstm" else parameters.steps
    policy = {
        "target_precision": parameters.target_precision,
        "confidence": parameters.confidence,
        "allow_insufficient_evidence": True,
        "surest_share": 1.0,
    }
    fit = FitDetectorParameters.model_validate(
        {
            **place,
            **policy,
            "labelled": LABELLED,
            "architecture": architecture,
            "steps": steps,
            "learning_rate": parameters.learning_rate,
            "seed": parameters.seed,
        }
    )
    name = fit_detector(fit).fingerprint
    score(ScoreParameters.model_validate({**place, "corpus": TEST, "detector": name}))
    wish = ExtractParameters.model_validate({**place, **policy, "corpus": TEST, "detector": name})
    segments = extract(wish)
    workspace = Workspace(str(place["workspace"]))
    manifests = Manifests(workspace)
    calibration = calibrated(workspace, name, fit)
    test_songs = list(_scored_test_songs(manifests, name, songs.truth))
    detector = networks.load_detector(workspace, name, "cpu")
    return DetectorFindings(
        architecture=architecture,
        detector=name,
        steps=steps,
        num_weights=sum(weights.numel() for weights in detector.parameters()),
        calibration=calibration,
        quality=extraction_quality(
            manifests, Partition("segments", TEST, segments.fingerprint), songs.truth, wish.policy
        ),
        test=calibrate(
            test_songs, fit.policy, MUSIC.sources, target_precision=parameters.target_precision,
            allow_insufficient_evidence=True,
            hop_samples=MUSIC.hop_samples, sample_rate=MUSIC.sample_rate,
        ),
        realtime_factor=_realtime_factor(detector),
        stitching_error=_stitching_error(detector, manifests, workspace),
        real=quality_on_real_music(manifests, REAL, detector, calibration.thresholds, fit.policy)
        if parameters.labelled_real
        else None,
    )  # fmt: skip


def _scored_test_songs(
    manifests: Manifests, detector: str, truth: Sequence[Mapping[str, Any]]
) -> Iterator[ScoredSong]:
    """The test songs with what the detector says and what is true, frame by frame."""
    activity = true_activity(manifests, TEST, truth)
    for row in manifests.rows(Partition("scores", TEST, scores_fingerprint(detector))):
        if row["track_id"] not in activity:
            continue
        known = activity[row["track_id"]].active
        # a lossy file may be a frame longer than the song that it was made of
        frames = min(row["num_frames"], known.shape[1])
        probability = np.array(row["silence_probability"], dtype=np.float32)
        yield ScoredSong(
            track_id=row["track_id"],
            probability=probability[:, :frames],
            level_db=np.array(row["level_db"], dtype=np.float32)[:frames],
            active=known[:, :frames],
        )


def _realtime_factor(detector: SilenceDetector) -> float:
    """Seconds of noise scored in a second by one thread; the fastest of some rounds."""
    samples = round(SPEED_S * MUSIC.sample_rate)
    noise = (
        np.random.default_rng(0).normal(0, 0.1, (MUSIC.num_channels, samples)).astype(np.float32)
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for _ in range(SPEED_ROUNDS):
        begun = time.process_time()
        score_chunks(detector, lambda start, count: noise[:, start : start + count], samples)
        seconds.append(time.process_time() - begun)
    torch.set_num_threads(threads)
    return SPEED_S / min(seconds)


def _stitching_error(
    detector: SilenceDetector, manifests: Manifests, workspace: Workspace
) -> float:
    """Largest difference between the probabilities of a song in short chunks and in one."""
    reader = CropReader(workspace.location)
    worst = 0.0
    tracks = sorted(
        manifests.rows(manifests.latest("tracks", TEST), ["path", "num_samples"]),
        key=lambda row: str(row["path"]),
    )
    for row in tracks[:STITCHED_SONGS]:
        path, samples = row["path"], row["num_samples"]

        def read(start: int, count: int, path: str = path) -> NDArray[np.float32]:
            return reader(path, start, count)

        whole, stitched = (
            score_chunks(detector, read, samples, chunk_frames=frames)
            for frames in (-(-samples // MUSIC.hop_samples), STITCH_FRAMES)
        )
        worst = max(worst, float(np.abs(whole - stitched).max()))
    return worst
