"""``silentmix demo``: make songs with known silences, run the chain on them, say what it gave.

Three models are trained alike: on the labelled songs alone, on remixes of the unlabelled music too,
and on remixes of its true silences, which no detector's error spoils.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from demo_corpus.corpus import write_labelled, write_unlabelled
from demo_corpus.spreading import over_processes
from flows.evaluate.flow import evaluate
from flows.evaluate.options import EvaluateParameters
from flows.inputs.networks import pick_device
from flows.pipeline.flow import pipeline
from flows.pipeline.options import PipelineParameters
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.studies.demo_options import DemoParameters
from flows.studies.demo_summary import print_summary
from flows.studies.side_by_side import LOGS, Job, how_many, planned, run_side_by_side
from flows.studies.true_segments import TrueSegmentsParameters, true_segments
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.workspace import Workspace

LABELLED, MUSIC, TRUTH = "demo-labelled", "demo-music", "demo-truth"
FORMAT = MusicFormat(sample_rate=11_025, num_channels=1)
POLICY = {"target_precision": 0.9, "min_duration_s": 2.0, "allow_insufficient_evidence": True}
STAGES: Mapping[str, Mapping[str, Any]] = {
    "fit_detector": {"steps": 400, "batch_size": 8, "crop_s": 6.0},
    "extract": POLICY,
}
TRAINING: Mapping[str, Any] = {"preset": "demo", "threads": 1}
"""What the demo sets, so that it is done in minutes; a real run would leave the defaults."""

ALONE, REMIXES, CEILING = "labelled songs alone", "with remixes", "with true silences"


def run_demo(parameters: DemoParameters, console: Console) -> None:
    """Generate the corpus, run the chain, train, print the summary.

    Raises:
        UserError: the workspace is not a local folder, or a training failed.
    """
    if "://" in parameters.workspace:
        raise UserError(f"--workspace {parameters.workspace}: the demo wants a local folder")
    started = time.monotonic()
    root = Path(parameters.workspace).resolve()
    corpus = root.with_name(f"{root.name}-corpus")
    truth = write_songs(parameters, corpus)
    made = time.monotonic()
    _run_chain(parameters, root, corpus)
    trainings = _trainings(root, truth)
    prepared = time.monotonic()
    plans = {name: planned(wish) for name, wish in trainings.items()}
    _train({name: trainings[name] for name in plans if not plans[name].already_done}, root, console)
    trained = time.monotonic()
    models = {plan.fingerprint: name for name, plan in plans.items()}
    evaluation = evaluate(
        EvaluateParameters(
            workspace=str(root),
            workers=parameters.workers,
            labelled=LABELLED,
            models=list(models),
            compare_to=next(iter(models)),
        )
    )
    print_summary(Workspace(str(root)), MUSIC, truth, evaluation, models, console)
    console.print(
        f"workspace {root}\ncorpus    {corpus}\n"
        f"corpus {made - started:.0f} s, until remixes {prepared - made:.0f} s, "
        f"training {trained - prepared:.0f} s, evaluation {time.monotonic() - trained:.0f} s\n"
        f"look at every run: silentmix up --workspace {parameters.workspace}   (or make ui)\n"
        f"what is where:     silentmix status --workspace {parameters.workspace}",
        highlight=False,
    )


def write_songs(parameters: DemoParameters, root: Path) -> Path:
    """Write the songs that are not there yet.

    Returns:
        The file with the truth about the unlabelled ones: a row a file and source.
    """
    with over_processes(parameters.workers) as spread:
        songs = write_labelled(
            root / "labelled",
            seed=parameters.seed,
            num_train=parameters.train_songs,
            num_valid=parameters.valid_songs,
            num_test=parameters.test_songs,
            num_channels=FORMAT.num_channels,
            duration_s=parameters.song_s,
            sample_rate=FORMAT.sample_rate,
            map=spread,
        )
        write_unlabelled(
            root / "unlabelled",
            seed=parameters.seed,
            num_songs=parameters.unlabelled_songs,
            hop_samples=FORMAT.hop_samples,
            leaked=songs[-1] / "mixture.wav",
            duration_s=parameters.song_s,
            sample_rate=FORMAT.sample_rate,
            map=spread,
        )
    return root / "truth" / "unlabelled" / "truth.parquet"


def _run_chain(parameters: DemoParameters, root: Path, corpus: Path) -> None:
    pipeline(
        PipelineParameters.model_validate(
            {
                "workspace": str(root),
                "workers": parameters.workers,
                "labelled": str(corpus / "labelled"),
                "unlabelled": str(corpus / "unlabelled"),
                "labelled_corpus": LABELLED,
                "corpus": MUSIC,
                "sample_rate": FORMAT.sample_rate,
                "channels": FORMAT.num_channels,
                "until_stage": "remix",
                **STAGES,
            }
        )
    )


def _trainings(root: Path, truth: Path) -> dict[str, TrainParameters]:
    """The three trainings by what they learn from: alike but for that."""
    place = {"workspace": str(root), "labelled": LABELLED}
    true_segments(
        TrueSegmentsParameters.model_validate(
            {"workspace": str(root), "corpus": MUSIC, "into": TRUTH, "truth": str(truth), **POLICY}
        )
    )
    remix(RemixParameters.model_validate({**place, "corpus": TRUTH, "workers": 1}))

    def training(**more: Any) -> TrainParameters:
        return TrainParameters.model_validate({**place, **TRAINING, **more})

    return {
        ALONE: training(weak_share=0.0),
        REMIXES: training(corpora=[MUSIC]),
        CEILING: training(corpora=[TRUTH]),
    }


def _train(trainings: Mapping[str, TrainParameters], root: Path, console: Console) -> None:
    """Train side by side."""
    device = pick_device("auto").partition(":")[0]

    def ended(job: Job, problem: str) -> None:
        if problem:
            raise UserError(f"training {job.label}: {problem}; see {root / LOGS / job.log}")
        console.print(f"trained {job.label}", highlight=False)

    jobs = [
        Job(label=name, log=f"{name.replace(' ', '-')}.log", train=wish, evaluate=None)
        for name, wish in trainings.items()
    ]
    if jobs:
        console.print(f"training {len(jobs)} models side by side: {root / LOGS}", soft_wrap=True)
    run_side_by_side(
        jobs, num_processes=how_many(0, device), device=device, logs=root / LOGS, on_end=ended
    )
