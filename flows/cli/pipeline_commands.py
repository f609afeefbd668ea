"""The command that runs the whole pipeline."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from flows.catalogue import BY_NAME
from flows.cli.lines import say
from flows.cli.stage_table import print_expected, print_plans, print_results
from flows.pipeline.options import PipelineParameters
from flows.running.chain_parameters import Stage

console = Console()


def run_command(
    *,
    parameters: Annotated[PipelineParameters, Parameter(name="*")] = PipelineParameters(),
    only: Annotated[Stage | None, Parameter(help="Run this stage alone.")] = None,
) -> None:
    """Run the pipeline on your labelled set and your unlabelled music."""
    from flows.pipeline.expected import expect
    from flows.pipeline.flow import pipeline
    from flows.running.chain import Chain
    from flows.running.stage import run_stage

    parameters = _alone(parameters, only)
    chain = Chain(parameters)
    if not parameters.dry_run:
        say(f"stages: {', '.join(parameters.stages_in_rounds)}")
    if "fit-detector" in parameters.stages:
        say(BY_NAME["fit-detector"].beside_flow("ahead")(chain))
    print_expected(expect(chain), console)
    results = run_stage(pipeline, parameters)
    if parameters.dry_run:
        print_plans(results, console)
    else:
        print_results(results, console)


def run_ahead(
    *, parameters: PipelineParameters = PipelineParameters(), only: Stage | None = None
) -> None:
    """Refuse what ``run`` would refuse, before there is a server.

    Raises:
        UserError: as ``run`` would.
    """
    parameters = _alone(parameters, only)
    parameters.require_music()
    from flows.pipeline.flow import begin

    begin(parameters)


def _alone(parameters: PipelineParameters, only: Stage | None) -> PipelineParameters:
    if only is None:
        return parameters
    return parameters.model_copy(update={"from_stage": only, "until_stage": only})
