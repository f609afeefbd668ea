"""``silentmix study weak-length``: what masks give, in minutes of music and in validation SDR.

The real stages run on generated songs. Minutes are counted in what ``extract`` found, and in the
true silences; then a small model is trained in each of several ways (``ARMS``), the same number of
steps, with several seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from demo_corpus.corpus import write_labelled, write_unlabelled
from demo_corpus.spreading import over_processes
from demucs_core.extraction.segments import ExtractionPolicy, Segment
from demucs_core.training.validation import Validation
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.fit_detector.flow import fit_detector
from flows.fit_detector.options import FitDetectorParameters
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import registry
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.running.execution import dask_client
from flows.running.parameters import StageParameters
from flows.running.stage import StageResult
from flows.score.flow import score
from flows.score.options import ScoreParameters
from flows.studies.truth import SourceQuality, extraction_quality, rows_of
from flows.studies.usable_minutes import FRAME_S, extracted_segments, true_segments
from flows.studies.weak_length_options import WeakLengthParameters
from flows.train.flow import train
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

LABELLED, MUSIC = "weak-length-labelled", "weak-length-music"
VALIDATIONS, VALIDATION_CROPS = 4, 3
LABELLED_ONLY, GROUPS = "labelled only", "masked, with groups"
CONFIDENCE_WEIGHTING = 4.0


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train: what it asks of the stages, above what all ask.

    Attributes:
        name: what the study calls it.
        remix: fields of :class:`flows.remix.flow.RemixOptions`; none for no remixes.
        train: fields of :class:`flows.train.options.TrainOptions`.
        against: the way it is compared with.
    """

    name: str
    remix: Mapping[str, Any] | None
    train: Mapping[str, Any]
    against: str = LABELLED_ONLY


def arms(crop_s: float) -> tuple[Arm, ...]:
    """The ways to train that are compared, for crops of a length in seconds."""
    paper = {"one_source": True, "min_segment_s": crop_s}
    return (
        Arm(name=LABELLED_ONLY, remix=None, train={"weak_share": 0.0}),
        Arm(name="the paper's whole crops", remix=paper, train={"masked": False}),
        Arm(name="masked", remix={"one_source": True}, train={}),
        Arm(name=GROUPS, remix={}, train={}),
        Arm(
            name="groups, by confidence",
            remix={},
            train={"confidence_weighting": CONFIDENCE_WEIGHTING},
            against=GROUPS,
        ),
        Arm(name="groups, matched", remix={"match": "tempo+key"}, train={}, against=GROUPS),
    )


@dataclass(frozen=True, kw_only=True)
class Training:
    """One model of the study.

    Attributes:
        arm: name of the way it was trained.
        seed: of its weights and examples.
        num_remixes: recipes that it had.
        history: its validations; empty where there was no remix to train on.
    """

    arm: str
    seed: int
    num_remixes: int
    history: Sequence[Validation]


@dataclass(frozen=True, kw_only=True)
class WeakLengthFindings:
    """What the study found.

    Attributes:
        music_s: seconds of unlabelled music.
        extracted: what the stage ``extract`` found, track by track.
        true: what it would have found if the detector were always right.
        all_true: every true silence, however short, nothing cut from its ends.
        quality: how right it was, by source.
        trainings: a model a way to train and seed.
    """

    music_s: float
    extracted: Sequence[Sequence[Segment]]
    true: Sequence[Sequence[Segment]]
    all_true: Sequence[Sequence[Segment]]
    quality: Mapping[str, SourceQuality]
    trainings: Sequence[Training]


@flow(name="study-weak-length", flow_run_name="study weak-length")
def study_weak_length(parameters: WeakLengthParameters) -> WeakLengthFindings:
    """Measure what masks give; what an earlier run did in the same workspace is not done again.

    Raises:
        UserError: the workspace is not a local folder.
    """
    if "://" in parameters.workspace:
        raise UserError(f"--workspace {parameters.workspace}: the study wants a local folder")
    root = Path(parameters.workspace).resolve()
    songs = root.with_name(f"{root.name}-weak-length")
    truth = _write_songs(parameters, songs)
    common = {"workspace": str(root), "workers": parameters.workers}
    with dask_client(StageParameters.model_validate(common)):
        extracted = _extract(parameters, songs, common)
        manifests = Manifests(Workspace(str(root)))
        segments = manifests.latest("segments", MUSIC, extracted.fingerprint)
        policy = ExtractParameters.model_validate(_policy(parameters)).policy
        return WeakLengthFindings(
            music_s=parameters.unlabelled_songs * parameters.song_s,
            extracted=extracted_segments(manifests, segments),
            true=true_segments(truth, policy),
            all_true=true_segments(truth, ExtractionPolicy(min_duration_s=FRAME_S, guard_s=0)),
            quality=extraction_quality(manifests, segments, truth, policy),
            trainings=[
                _train(parameters, arm, seed, extracted.fingerprint, common)
                for seed in range(parameters.seeds)
                for arm in arms(parameters.crop_s)
            ],
        )


def _write_songs(parameters: WeakLengthParameters, songs: Path) -> list[dict[str, Any]]:
    """Write the songs that are not there yet; returns the truth about those without stems."""
    with over_processes(parameters.workers) as spread:
        common: dict[str, Any] = {
            "seed": parameters.seed,
            "duration_s": parameters.song_s,
            "map": spread,
        }
        write_labelled(
            songs / "labelled",
            num_train=parameters.train_songs,
            num_valid=parameters.valid_songs,
            num_test=0,
            **common,
        )
        write_unlabelled(
            songs / "unlabelled", num_songs=parameters.unlabelled_songs, faults=False, **common
        )
    return rows_of(songs / "truth" / "unlabelled" / "truth.parquet")


def _policy(parameters: WeakLengthParameters) -> dict[str, Any]:
    return {
        "min_duration_s": parameters.min_duration_s,
        "target_precision": parameters.target_precision,
        "allow_insufficient_evidence": True,
        "surest_share": 1.0,
    }


def _extract(parameters: WeakLengthParameters, songs: Path, common: dict[str, Any]) -> StageResult:
    """Run the stages up to ``extract``."""
    for corpus, folder in ((LABELLED, "labelled"), (MUSIC, "unlabelled")):
        source = {"source": str(songs / folder), "corpus": corpus, "labelled": corpus == LABELLED}
        ingest(IngestParameters.model_validate({**common, **source}))
    policy = _policy(parameters)
    detector = fit_detector(
        FitDetectorParameters.model_validate(
            {
                **common,
                **policy,
                "labelled": LABELLED,
                "steps": parameters.detector_steps,
                "batch_size": 8,
                "crop_s": 6.0,
            }
        )
    ).fingerprint
    scored = {**common, "corpus": MUSIC, "detector": detector}
    score(ScoreParameters.model_validate(scored))
    return extract(ExtractParameters.model_validate({**scored, **policy}))


def _train(
    parameters: WeakLengthParameters, arm: Arm, seed: int, segments: str, common: dict[str, Any]
) -> Training:
    """Train one model, or find it; what it reads are the remixes drawn last."""
    num_remixes = 0
    if arm.remix is not None:
        drawn = remix(
            RemixParameters.model_validate(
                {
                    **common,
                    "corpus": MUSIC,
                    "labelled": LABELLED,
                    "segments": segments,
                    **arm.remix,
                }
            )
        )
        num_remixes = int(drawn.counts["remixes"])
        if not num_remixes:
            return Training(arm=arm.name, seed=seed, num_remixes=0, history=())
    shared = {
        name: getattr(parameters, name)
        for name in (
            "crop_s", "batch_size", "steps", "weak_share", "channels", "depth", "learning_rate",
        )
    }  # fmt: skip
    trained = train(
        TrainParameters.model_validate(
            {
                **common,
                **shared,
                "labelled": LABELLED,
                "corpora": [MUSIC],
                "validate_every": max(1, parameters.steps // VALIDATIONS),
                "validation_crops": VALIDATION_CROPS,
                "seed": seed,
                **arm.train,
            }
        )
    )
    described = registry.describe(Workspace(common["workspace"]), "models", trained.fingerprint)
    history = [Validation.from_json(entry) for entry in described["history"]]
    return Training(arm=arm.name, seed=seed, num_remixes=num_remixes, history=history)
