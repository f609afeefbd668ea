"""``silentmix demo``: make songs with known silences, run the chain on them, say what it gave.

Three models are trained alike: on the labelled songs alone, on remixes of the unlabelled music too,
and on remixes of its true silences, which no detector's error spoils. Each training begins as
soon as what it learns from is there, the first one before there is a detector; all else goes on
beside them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from demo_corpus.corpus import write_labelled, write_unlabelled
from demo_corpus.spreading import over_processes
from flows.evaluate.flow import evaluate
from flows.evaluate.options import EvaluateParameters
from flows.inputs.given_names import give_name
from flows.pipeline.flow import begin, pipeline
from flows.pipeline.options import PipelineParameters
from flows.policy.options import PolicyOptions
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.running.devices import pick_device
from flows.running.under_way import runs_under_way
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
    demo = _Demo(parameters, root, corpus, truth, console)
    demo.train()
    trained = time.monotonic()
    evaluation = evaluate(demo.evaluation())
    policy = PolicyOptions.model_validate(POLICY).policy
    print_summary(Workspace(str(root)), MUSIC, truth, policy, evaluation, demo.models, console)
    console.print(
        f"workspace {root}\ncorpus    {corpus}\n"
        f"corpus {made - started:.0f} s, stages and training {trained - made:.0f} s, "
        f"evaluation of what was left {time.monotonic() - trained:.0f} s\n"
        "look at every run: make ui; or, after `. .venv/bin/activate`,\n"
        f"                   silentmix up --workspace {parameters.workspace}\n"
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


class _Demo:
    """A demo at work: trainings in processes of their own, and all that they wait for in this one.

    Attributes:
        models: the models by their names, and what each learns from.
    """

    def __init__(
        self, parameters: DemoParameters, root: Path, corpus: Path, truth: Path, console: Console
    ) -> None:
        self.parameters, self.root, self.console = parameters, root, console
        self.corpus, self.truth = corpus, truth
        self.models: dict[str, str] = {}
        self._place = {"workspace": str(root), "labelled": LABELLED}
        self._under_way = set[str]()

    def train(self) -> None:
        """Run the chain, and train each model as soon as what it learns from is there.

        Raises:
            UserError: the chain would refuse its work, or a training failed.
        """
        begin(self._chain("ingest", "remix"))
        pipeline(self._chain("ingest", "ingest"))
        device = pick_device("auto").partition(":")[0]
        run_side_by_side(
            self._jobs(),
            num_processes=how_many(0, device),
            device=device,
            logs=self.root / LOGS,
            on_end=self._ended,
            on_wait=self._tell_how_far,
        )

    def evaluation(self) -> EvaluateParameters:
        """The evaluation of the models so far, against the first."""
        models = list(self.models)
        told = {"models": models, "compare_to": models[0], "workers": self.parameters.workers}
        return EvaluateParameters.model_validate({**self._place, **told})

    def _jobs(self) -> Iterator[Job | None]:
        """The trainings in turn. What stands between them runs here, beside those under way."""
        yield from self._training(ALONE, weak_share=0.0)
        pipeline(self._chain("fit-detector", "remix"))
        yield from self._training(REMIXES, corpora=[MUSIC])
        self._find_true_silences()
        first_two = self.evaluation()
        yield from self._training(CEILING, corpora=[TRUTH])
        while self._under_way - {CEILING}:
            yield None
        if self._under_way:  # one training is left, and takes one core
            workers = max(1, first_two.num_workers - 1)
            evaluate(first_two.model_copy(update={"workers": workers}))

    def _chain(self, first: str, last: str) -> PipelineParameters:
        return PipelineParameters.model_validate(
            {
                "workspace": str(self.root),
                "workers": self.parameters.workers,
                "labelled": str(self.corpus / "labelled"),
                "unlabelled": str(self.corpus / "unlabelled"),
                "labelled_corpus": LABELLED,
                "corpus": MUSIC,
                "sample_rate": FORMAT.sample_rate,
                "channels": FORMAT.num_channels,
                "from_stage": first,
                "until_stage": last,
                **STAGES,
            }
        )

    def _find_true_silences(self) -> None:
        """Remix what a detector that is always right would find."""
        told = {"workspace": str(self.root), "corpus": MUSIC, "into": TRUTH, **POLICY}
        true_segments(TrueSegmentsParameters.model_validate({**told, "truth": str(self.truth)}))
        remix(RemixParameters.model_validate({**self._place, "corpus": TRUTH, "workers": 1}))

    def _training(self, name: str, **more: Any) -> Iterator[Job]:
        """A training, if it is not done; they are alike but for what they learn from."""
        wish = TrainParameters.model_validate({**self._place, **TRAINING, **more})
        plan = planned(wish)
        self.models[plan.fingerprint] = name
        if not plan.already_done:
            job = Job(label=name, log=f"{name.replace(' ', '-')}.log", train=wish, evaluate=None)
            self._under_way.add(name)
            self.console.print(f"training {name}: {self.root / LOGS / job.log}", soft_wrap=True)
            yield job

    def _tell_how_far(self) -> None:
        for run in runs_under_way(Workspace(str(self.root))):
            if run.progress and (name := self.models.get(run.fingerprint)):
                self.console.print(
                    f"training {name}: {run.progress}", highlight=False, soft_wrap=True
                )

    def _ended(self, job: Job, problem: str) -> None:
        self._under_way.remove(job.label)
        if problem:
            raise UserError(f"training {job.label}: {problem}; see {self.root / LOGS / job.log}")
        known_id = next(known for known, name in self.models.items() if name == job.label)
        give_name(Workspace(str(self.root)), "models", known_id, job.label.replace(" ", "-"))
        self.console.print(f"trained {job.label}", highlight=False)
