"""The commands that run stages: all of them, the demo, or one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from prefect import Flow
from rich.console import Console
from rich.table import Table

from flows.cli.demo import DemoParameters, run_demo
from flows.evaluate.flow import EvaluateParameters, Evaluation, evaluate
from flows.evaluate.summary import print_comparison
from flows.extract.flow import ExtractParameters, extract
from flows.fit_detector.flow import FitDetectorParameters, fit_detector
from flows.ingest.flow import IngestParameters, ingest
from flows.pipeline.flow import STAGES, PipelineParameters, Stage, pipeline
from flows.remix.flow import RemixParameters, remix
from flows.reports.terminal_table import print_table
from flows.running.parameters import StageParameters
from flows.running.stage import StageResult, run_stage
from flows.score.flow import ScoreParameters, score
from flows.train.flow import TrainParameters, train

STAGE_FLOWS: dict[str, tuple[Flow[..., Any], type[StageParameters]]] = {
    "ingest": (ingest, IngestParameters),
    "fit-detector": (fit_detector, FitDetectorParameters),
    "score": (score, ScoreParameters),
    "extract": (extract, ExtractParameters),
    "remix": (remix, RemixParameters),
    "train": (train, TrainParameters),
    "evaluate": (evaluate, EvaluateParameters),
}

app = cyclopts.App()
main_group = cyclopts.Group("The whole pipeline", sort_key=1)
stages_group = cyclopts.Group("Stages, one by one", sort_key=2)
console = Console()


@app.command(name="run", group=main_group)
def run_command(
    parameters: Annotated[PipelineParameters, Parameter(name="*")] = PipelineParameters(),
    *,
    only: Annotated[Stage | None, Parameter(help="Run this stage alone.")] = None,
) -> None:
    """Run the pipeline on your labelled set and your unlabelled music."""
    if only is not None:
        parameters = parameters.model_copy(update={"from_stage": only, "until_stage": only})
    results = run_stage(pipeline, parameters)
    if parameters.dry_run:
        print_plans(results)
    else:
        print_results(results)


@app.command(name="demo", group=main_group)
def demo_command(
    parameters: Annotated[DemoParameters, Parameter(name="*")] = DemoParameters(),
) -> None:
    """Make a corpus and run the whole pipeline on it: about ten minutes on two cores."""
    run_demo(parameters, console)


def _add_stage(name: str, stage_flow: Flow[..., Any], model: type[StageParameters]) -> None:
    def command(parameters: StageParameters) -> None:
        made = run_stage(stage_flow, parameters)
        results = made.results if isinstance(made, Evaluation) else [made]
        if parameters.dry_run:
            print_plans(results)
            return
        print_results(results)
        if isinstance(made, Evaluation) and made.comparison is not None:
            print_comparison(made.comparison, made.location, console)

    command.__annotations__["parameters"] = Annotated[model, Parameter(name="*")]
    if not any(field.is_required() for field in model.model_fields.values()):
        command.__defaults__ = (model(),)
    command.__doc__ = inspect.getdoc(stage_flow)
    app.command(command, name=name, group=stages_group, sort_key=STAGES.index(name))


for _name, (_flow, _model) in STAGE_FLOWS.items():
    _add_stage(_name, _flow, _model)


def print_plans(results: Sequence[StageResult]) -> None:
    """A line a stage of a dry run: what it would make, how much is left to do, from what."""
    rows = []
    for result in results:
        todo, reads = f"known once {result.waits_for} has run", ""
        if (plan := result.plan) is not None:
            todo = f"{plan.pending} of {plan.total} {plan.unit}"
            reads = ", ".join(plan.reads)
        rows.append([result.stage, result.corpus, result.fingerprint, todo, reads])
    print_table(console, ["stage", "corpus", "makes", "to do", "from"], rows)


def print_results(results: Sequence[StageResult]) -> None:
    """A line a stage: what it made."""
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "corpus", "made", "counts"):
        table.add_column(heading, overflow="fold")
    for result in results:
        counts = ", ".join(f"{name} {value:g}" for name, value in result.counts.items())
        made = f"{result.fingerprint}{' (was done)' if result.already_done else ''}"
        table.add_row(result.stage, result.corpus, made, counts)
    console.print(table)
    for result in results:
        for note in result.notes:
            console.print(f"{result.stage} {result.corpus}: {note}", markup=False, highlight=False)
