"""The chain: every stage in turn, each as a flow run of its own below this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from prefect import flow, tags
from pydantic import Field

from flows.evaluate.flow import EvaluateOptions, EvaluateParameters, evaluate
from flows.extract.flow import ExtractParameters, extract
from flows.fit_detector.flow import FitDetectorOptions, FitDetectorParameters, fit_detector
from flows.ingest.flow import IngestOptions, IngestParameters, ingest
from flows.inputs import registry
from flows.policy.calibration import PolicyOptions
from flows.remix.flow import RemixOptions, RemixParameters, remix
from flows.running.execution import dask_client
from flows.running.parameters import CorpusName, StageParameters
from flows.running.stage import StageResult, run_stage
from flows.score.flow import ScoreOptions, ScoreParameters, score
from flows.server.announcements import TAG
from flows.train.flow import TrainOptions, TrainParameters, train
from storage.errors import UserError
from storage.workspace import Workspace

Stage = Literal["ingest", "fit-detector", "score", "extract", "remix", "train", "evaluate"]
STAGES: tuple[Stage, ...] = (
    "ingest", "fit-detector", "score", "extract", "remix", "train", "evaluate"
)  # fmt: skip


class PipelineParameters(StageParameters):
    """The labelled set, the unlabelled music, and how each stage works on them."""

    labelled: str = Field(
        "", description="Labelled set: folder of MUSDB18, MUSDB18-HQ or stem folders."
    )
    unlabelled: str = Field(
        "", description="Unlabelled music: a folder, a glob, a list of files (.txt, .m3u) or a URL."
    )
    labelled_corpus: CorpusName = Field("labelled", description="Name of the labelled corpus.")
    corpus: CorpusName = Field("music", description="Name of the unlabelled corpus.")
    from_stage: Annotated[Stage, Parameter(name=["--from-stage", "--from"])] = Field(
        "ingest", description="First stage to run."
    )
    until_stage: Annotated[Stage, Parameter(name=["--until-stage", "--until"])] = Field(
        "evaluate", description="Last stage to run."
    )
    detector: str = Field(
        "", description="Detector for the stages after fit-detector, if that stage does not run."
    )
    baseline: bool = Field(
        True, description="Train and evaluate a model on labelled songs alone too, to compare."
    )
    ingest: IngestOptions = Field(IngestOptions(), description="How to ingest.")
    fit_detector: FitDetectorOptions = Field(
        FitDetectorOptions(), description="How to train the detector."
    )
    score: ScoreOptions = Field(ScoreOptions(), description="How to score.")
    extract: PolicyOptions = Field(
        PolicyOptions(), description="What to extract, and how sure one must be."
    )
    remix: RemixOptions = Field(RemixOptions(), description="How to draw recipes.")
    train: TrainOptions = Field(TrainOptions(), description="What to train, and how.")
    evaluate: EvaluateOptions = Field(EvaluateOptions(), description="How to evaluate.")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that run.

        Raises:
            UserError: the last comes before the first.
        """
        first, last = STAGES.index(self.from_stage), STAGES.index(self.until_stage)
        if last < first:
            raise UserError(
                f"until_stage {self.until_stage!r} comes before from_stage {self.from_stage!r}; "
                f"the order is {', '.join(STAGES)}"
            )
        return STAGES[first : last + 1]


@flow(name="pipeline", flow_run_name="pipeline {parameters.corpus}")
def pipeline(parameters: PipelineParameters) -> list[StageResult]:
    """Run the stages in turn; what is done already is not done again."""
    with tags(TAG), nullcontext() if parameters.dry_run else dask_client(parameters):
        chain = _Chain(parameters)
        chain.run()
    return chain.results


class _Chain:
    """The stages in turn: what each made is what the next one takes."""

    def __init__(self, parameters: PipelineParameters) -> None:
        self.parameters = parameters
        self.results: list[StageResult] = []
        self._common: dict[str, Any] = {
            name: getattr(parameters, name) for name in StageParameters.model_fields
        }

    def run(self) -> None:
        """Run the stages that were asked for."""
        steps: dict[Stage, Callable[[], Sequence[StageResult]]] = {
            "ingest": self._ingest,
            "fit-detector": self._fit_detector,
            "score": self._score,
            "extract": self._extract,
            "remix": self._remix,
            "train": self._train,
            "evaluate": self._evaluate,
        }
        waits_for = ""
        for stage in self.parameters.stages:
            try:
                if not waits_for:
                    self.results += steps[stage]()
                    continue
            except UserError:
                pending = [found.stage for found in self.results if not found.already_done]
                if not (self.parameters.dry_run and pending):
                    raise
                waits_for = pending[-1]  # this one reads what nobody made yet
            self.results.append(
                StageResult(stage=stage, corpus="", fingerprint="", waits_for=waits_for)
            )

    def _made(self, stage: Stage) -> list[str]:
        """The fingerprints of what a stage of this chain made."""
        return [result.fingerprint for result in self.results if result.stage == stage]

    def _detector(self) -> str:
        if fitted := self._made("fit-detector"):
            return fitted[0]
        workspace = Workspace(self.parameters.workspace)
        return registry.resolve(workspace, "detectors", self.parameters.detector)

    def _ingest(self) -> Sequence[StageResult]:
        parameters = self.parameters
        for name in ("labelled", "unlabelled"):
            if not getattr(parameters, name):
                raise UserError(f"{name} is required for the stage ingest; name the {name} music")
        needs_test = "evaluate" in parameters.stages
        return [
            run_stage(
                ingest,
                IngestParameters(
                    **self._common,
                    **_fields(parameters.ingest),
                    source=source,
                    corpus=corpus,
                    labelled=labelled,
                    require_test=labelled and needs_test,
                ),
            )
            for source, corpus, labelled in (
                (parameters.labelled, parameters.labelled_corpus, True),
                (parameters.unlabelled, parameters.corpus, False),
            )
        ]

    def _fit_detector(self) -> Sequence[StageResult]:
        parameters = FitDetectorParameters(
            **self._common,
            **_fields(self.parameters.fit_detector),
            **_fields(self.parameters.extract),
            labelled=self.parameters.labelled_corpus,
        )
        return [run_stage(fit_detector, parameters)]

    def _score(self) -> Sequence[StageResult]:
        parameters = ScoreParameters(
            **self._common,
            **_fields(self.parameters.score),
            corpus=self.parameters.corpus,
            detector=self._detector(),
        )
        return [run_stage(score, parameters)]

    def _extract(self) -> Sequence[StageResult]:
        parameters = ExtractParameters(
            **self._common,
            **_fields(self.parameters.extract),
            corpus=self.parameters.corpus,
            detector=self._detector(),
        )
        return [run_stage(extract, parameters)]

    def _remix(self) -> Sequence[StageResult]:
        parameters = RemixParameters(
            **self._common,
            **_fields(self.parameters.remix),
            corpus=self.parameters.corpus,
            labelled=self.parameters.labelled_corpus,
            segments="".join(self._made("extract")),
        )
        return [run_stage(remix, parameters)]

    def _train(self) -> Sequence[StageResult]:
        parameters = self.parameters
        arms = [parameters.train]
        if parameters.baseline and parameters.train.weak_share > 0:
            arms = [parameters.train.model_copy(update={"weak_share": 0.0}), parameters.train]
        return [
            run_stage(
                train,
                TrainParameters(
                    **self._common,
                    **_fields(arm),
                    labelled=parameters.labelled_corpus,
                    corpora=[parameters.corpus],
                ),
            )
            for arm in arms
        ]

    def _evaluate(self) -> Sequence[StageResult]:
        parameters = EvaluateParameters(
            **self._common,
            **_fields(self.parameters.evaluate),
            labelled=self.parameters.labelled_corpus,
            models=self._made("train"),
        )
        return run_stage(evaluate, parameters).results


def _fields(options: Any) -> dict[str, Any]:
    return {name: getattr(options, name) for name in type(options).model_fields}
