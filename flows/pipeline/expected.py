"""How long each stage of a chain will take, said before the first one begins.

What ran before in the workspace tells it best. Where nothing did, a step of the training is tried
on this machine, and the other stages have rates that were measured on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.fit_detector.options import FitDetectorOptions
from flows.pipeline.amount import Amount, amount_of
from flows.running.chain import Chain
from flows.train.flow import in_chain as trainings_in
from flows.train.options import TrainParameters
from flows.train.trial import step_seconds
from storage.tables.manifests import Manifests, Partition
from storage.tables.runs import PENDING
from storage.tables.schemas import RUNS, STEPS

START_S = 15.0
"""What a stage takes beside its work: its workers, its report."""

SECONDS_A_SECOND = {"ingest": 0.0024, "score": 1 / 213, "extract": 1e-5, "remix": 2e-5}
"""Work on a second of audio, on two cores, as docs/benchmarks.md and docs/design.md have it."""

DETECTOR_STEP_S = 0.75
"""A step of the default detector with its default batch, on such a machine."""

METRICS_S = 9.0
"""BSSEval of one model's estimates of a song of four minutes, on one core."""

FORWARD_SHARE = 1 / 3
"""Of a step's work on a second of audio, that of a pass without gradients."""

EARLIER, TRIED, RATE = "earlier runs here", "a step, tried just now", "a machine of two cores"
SHAPE = (
    *("architecture", "architecture_config", "channels", "depth", "objective"),
    *("batch_size", "crop_s", "precision", "device", "processes"),
)
"""What the time of a step depends on, as far as parameters tell."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a stage will take.

    Attributes:
        stage: its name.
        work: what there is to do, in words; what is done already is among it.
        seconds: about how long it takes; None where nobody knows.
        known_from: where that is known from.
    """

    stage: str
    work: str
    seconds: float | None
    known_from: str


@dataclass(frozen=True)
class _Run:
    """A run of before that had something to do."""

    stage: str
    corpus: str
    fingerprint: str
    told: dict[str, Any]
    num_done: float
    seconds: float


def expect(chain: Chain) -> list[Expected]:
    """A row a stage that the chain runs, in its order, those of a round once a round."""
    manifests, amount = chain.manifests(), amount_of(chain)
    runs = sorted(_runs(manifests), key=lambda run: run[0], reverse=True)
    newest_first = [run for _, run in runs]
    trainings = trainings_in(chain)
    step_s, known_from = None, ""
    if {"train", "evaluate"} & set(chain.parameters.stages):
        step_s, known_from = _step(trainings[-1], manifests, newest_first)
    rows = []
    num_models = 0
    for stage in chain.parameters.stages_in_rounds:
        if stage == "train":
            steps, num_more = trainings[-1].steps, 1 if num_models else len(trainings)
            seconds = None if step_s is None else step_s * steps * num_more
            work = f"models: {num_more}, steps of each: {steps:,}"
            rows.append(_row(stage, work, seconds, known_from))
            num_models += num_more
        elif stage == "evaluate":
            num_evaluated = num_models or len(trainings)
            rows.append(_evaluation(amount, trainings[-1], num_evaluated, step_s, known_from))
        elif stage == "fit-detector" and num_models:
            rows.append(_row(stage, "made of the model before", START_S, RATE))
        elif stage == "fit-detector":
            rows.append(_fitting(chain.options(stage), newest_first))
        elif stage == "score" and num_models:
            seconds = None
            if step_s is not None:
                seconds = START_S + amount.tracks_s * _pass_seconds(trainings[-1], step_s)
            rows.append(_row(stage, _tracks(amount), seconds, known_from))
        else:
            rows.append(_on_tracks(stage, amount, newest_first))
    return rows


def _row(stage: str, work: str, seconds: float | None, known_from: str) -> Expected:
    known_from = "" if seconds is None else known_from
    return Expected(stage=stage, work=work, seconds=seconds, known_from=known_from)


def _runs(manifests: Manifests) -> Iterator[tuple[Any, _Run]]:
    """What ended well and had something to do, and when it began."""
    columns = ["stage", "parameters", "counts", "outcome", "started_at", "duration_s"]
    for partition in manifests.partitions(RUNS.name):
        for row in manifests.rows(partition, columns):
            num_done = json.loads(row["counts"]).get(PENDING, 0)
            if row["outcome"] == "completed" and num_done:
                told = json.loads(row["parameters"])
                yield row["started_at"], _Run(
                    row["stage"], partition.corpus, partition.fingerprint, told, num_done,
                    row["duration_s"],
                )  # fmt: skip


def _step(
    asked: TrainParameters, manifests: Manifests, runs: Sequence[_Run]
) -> tuple[float | None, str]:
    """Seconds a step: the median of a training alike, or of one that is tried."""
    wanted = asked.model_dump(mode="json", include=set(SHAPE))
    for run in runs:
        if run.stage == "train" and {name: run.told.get(name) for name in wanted} == wanted:
            steps = Partition(STEPS.name, run.corpus, run.fingerprint)
            took = [row["step_s"] for row in manifests.rows(steps, ["step_s"])]
            if took:
                return float(np.median(took)), EARLIER
    return step_seconds(asked, manifests.workspace.music), TRIED


def _evaluation(
    amount: Amount, asked: TrainParameters, num_models: int, step_s: float | None, known_from: str
) -> Expected:
    seconds = None
    if step_s is not None:
        heard_s = amount.songs_s / max(1, amount.num_songs)
        pass_s = _pass_seconds(asked, step_s) * heard_s
        seconds = START_S + amount.num_test * num_models * (pass_s + METRICS_S)
    work = f"test songs: {amount.num_test:,}, models: {num_models}"
    return _row("evaluate", work, seconds, known_from)


def _pass_seconds(asked: TrainParameters, step_s: float) -> float:
    """Seconds in which a model hears a second of audio, by those of a step of its training."""
    return step_s * FORWARD_SHARE / (asked.batch_size * asked.crop_s)


def _fitting(options: Mapping[str, Any], runs: Sequence[_Run]) -> Expected:
    steps, work = options["steps"], f"{options['steps']:,} steps"
    size = ("architecture", "batch_size", "crop_s", "device")
    for run in runs:
        if run.stage == "fit-detector" and all(run.told.get(x) == options[x] for x in size):
            return _row("fit-detector", work, run.seconds / run.told["steps"] * steps, EARLIER)
    usual = FitDetectorOptions()
    if options["architecture"] != usual.architecture:
        return _row("fit-detector", work, None, "")
    share = options["batch_size"] * options["crop_s"] / (usual.batch_size * usual.crop_s)
    return _row("fit-detector", work, START_S + DETECTOR_STEP_S * share * steps, RATE)


def _on_tracks(stage: str, amount: Amount, runs: Sequence[_Run]) -> Expected:
    """A stage whose work grows with the music."""
    work, audio_s = _tracks(amount), amount.tracks_s
    if stage == "ingest":
        work, audio_s = f"{amount.num_songs:,} songs, {work}", audio_s + amount.songs_s
    for run in runs:
        # of `remix` segments are counted, of labelled songs songs
        if run.stage == stage != "remix" and not run.told.get("labelled"):
            return _row(stage, work, run.seconds / run.num_done * amount.num_tracks, EARLIER)
    rate = SECONDS_A_SECOND.get(stage)  # nobody measured a stage that somebody added
    return _row(stage, work, None if rate is None else START_S + audio_s * rate, RATE)


def _tracks(amount: Amount) -> str:
    return f"{amount.num_tracks:,} tracks"
