"""The commands that run stages: all of them, the demo, or one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from flows.catalogue import CATALOGUE, Entry
from flows.cli.demo import DemoParameters, run_demo
from flows.pipeline.flow import PipelineParameters, pipeline
from flows.reports.terminal_table import print_table
from flows.running.chain import Stage
from flows.running.music_options import InitParameters
from flows.running.parameters import StageParameters, WorkParameters
from flows.running.stage import StageResult, run_stage
from flows.running.stage_result import results_in

app = cyclopts.App()
main_group = cyclopts.Group("The whole pipeline", sort_key=1)
groups = {
    "stages": cyclopts.Group("Stages, one by one", sort_key=2),
    "results": cyclopts.Group("Results", sort_key=3),
}
console = Console()


@app.command(name="run", group=main_group)
def run_command(
    *,
    parameters: Annotated[PipelineParameters, Parameter(name="*")] = PipelineParameters(),
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


@app.command(name="init", group=main_group)
def init_command(
    parameters: Annotated[InitParameters, Parameter(name="*")] = InitParameters(),  # noqa: B008
) -> None:
    """Begin a workspace, and say what music it is to hold.

    Needed where the sources are not drums, bass, other, vocals at 44.1 kHz in stereo; ``ingest``
    and ``run`` take the same options. A workspace keeps its music for good.
    """
    workspace = parameters.begin(parameters.workspace)
    console.print(
        f"{workspace.location}: {workspace.music}", markup=False, highlight=False, soft_wrap=True
    )


@app.command(name="demo", group=main_group)
def demo_command(
    *,
    parameters: Annotated[DemoParameters, Parameter(name="*")] = DemoParameters(),
) -> None:
    """Make a corpus and run the whole pipeline on it: about ten minutes on two cores."""
    run_demo(parameters, console)


def _add_command(entry: Entry, place: int) -> None:
    stage_flow, model = entry.load_flow(), entry.load_parameters()

    def command(*, parameters: WorkParameters) -> None:
        made = run_stage(stage_flow, parameters)
        results = results_in(made)
        if isinstance(parameters, StageParameters) and parameters.dry_run:
            print_plans(results)
            return
        if results:
            print_results(results)
        if entry.prints:
            entry.beside_flow(entry.prints)(made, console)

    command.__annotations__["parameters"] = Annotated[model, Parameter(name="*")]
    if not any(field.is_required() for field in model.model_fields.values()):
        command.__kwdefaults__ = {"parameters": model()}
    command.__doc__ = inspect.getdoc(stage_flow)
    app.command(command, name=entry.name, group=groups[entry.group], sort_key=place)


for _place, _entry in enumerate(CATALOGUE):
    if not _entry.own_command:
        _add_command(_entry, _place)


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
