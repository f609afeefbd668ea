"""The chain: every stage in turn, each as a flow run of its own below this one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter
from prefect import flow, tags
from pydantic import Field

from flows import registry
from flows.announcements import TAG
from flows.calibration import PolicyOptions
from flows.configuration import UserError
from flows.evaluate import EvaluateOptions, EvaluateParameters, evaluate
from flows.execution import dask_client
from flows.extract import ExtractParameters, extract
from flows.fit_detector import FitDetectorOptions, FitDetectorParameters, fit_detector
from flows.ingest import IngestOptions, IngestParameters, ingest
from flows.parameters import CorpusName, StageParameters
from flows.remix import RemixOptions, RemixParameters, remix
from flows.score import ScoreOptions, ScoreParameters, score
from flows.stage import StageResult
from flows.train import TrainOptions, TrainParameters, train
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
    stages = parameters.stages
    common: dict[str, Any] = {
        "workspace": parameters.workspace,
        "workers": parameters.workers,
        "dask_address": parameters.dask_address,
    }
    results: list[StageResult] = []
    with tags(TAG), dask_client(parameters):
        if "ingest" in stages:
            results += _ingest_both(parameters, common)
        workspace = Workspace(parameters.workspace)
        detector = parameters.detector
        if "fit-detector" in stages:
            fitted = fit_detector(
                FitDetectorParameters(
                    **common,
                    **_fields(parameters.fit_detector),
                    **_fields(parameters.extract),
                    labelled=parameters.labelled_corpus,
                )
            )
            results.append(fitted)
            detector = fitted.fingerprint
        elif {"score", "extract"} & set(stages):
            detector = registry.resolve(workspace, "detectors", detector)
        segments = ""
        if "score" in stages:
            options = _fields(parameters.score)
            results.append(
                score(
                    ScoreParameters(
                        **common, **options, corpus=parameters.corpus, detector=detector
                    )
                )
            )
        if "extract" in stages:
            options = _fields(parameters.extract)
            extracted = extract(
                ExtractParameters(**common, **options, corpus=parameters.corpus, detector=detector)
            )
            results.append(extracted)
            segments = extracted.fingerprint
        if "remix" in stages:
            results.append(
                remix(
                    RemixParameters(
                        **common,
                        **_fields(parameters.remix),
                        corpus=parameters.corpus,
                        labelled=parameters.labelled_corpus,
                        segments=segments,
                    )
                )
            )
        models = []
        if "train" in stages:
            trained = _train_all(parameters, common)
            results += trained
            models = [result.fingerprint for result in trained]
        if "evaluate" in stages:
            evaluation = evaluate(
                EvaluateParameters(
                    **common,
                    **_fields(parameters.evaluate),
                    labelled=parameters.labelled_corpus,
                    models=models,
                )
            )
            results += evaluation.results
    return results


def _ingest_both(parameters: PipelineParameters, common: dict[str, Any]) -> list[StageResult]:
    for name in ("labelled", "unlabelled"):
        if not getattr(parameters, name):
            raise UserError(f"{name} is required for the stage ingest; name the {name} music")
    options = _fields(parameters.ingest)
    needs_test = "evaluate" in parameters.stages
    return [
        ingest(
            IngestParameters(
                **common,
                **options,
                source=source,
                corpus=corpus,
                labelled=labelled,
                require_test=labelled and needs_test,
            )
        )
        for source, corpus, labelled in (
            (parameters.labelled, parameters.labelled_corpus, True),
            (parameters.unlabelled, parameters.corpus, False),
        )
    ]


def _train_all(parameters: PipelineParameters, common: dict[str, Any]) -> list[StageResult]:
    arms = [parameters.train]
    if parameters.baseline and parameters.train.weak_share > 0:
        arms = [parameters.train.model_copy(update={"weak_share": 0.0}), parameters.train]
    return [
        train(
            TrainParameters(
                **common,
                **_fields(arm),
                labelled=parameters.labelled_corpus,
                corpora=[parameters.corpus],
            )
        )
        for arm in arms
    ]


def _fields(options: Any) -> dict[str, Any]:
    return {name: getattr(options, name) for name in type(options).model_fields}
