"""The command that runs one flow: its parameters are the flow's.

The flow itself is imported when it runs: whoever reads the help does not wait for torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from flows.catalogue import Entry
from flows.cli.stage_table import print_plans, print_results
from flows.running.launcher import launched
from flows.running.parameters import PlaceParameters, StageParameters
from flows.running.stage_result import results_in

console = Console()


def command_of(entry: Entry) -> Callable[..., None]:
    """The command of a flow of the catalogue."""
    model = entry.load_parameters()

    def command(*, parameters: PlaceParameters) -> None:
        launch = launched(os.environ)
        if launch is not None and launch.rank > 0:
            entry.beside_flow(entry.others)(parameters)
            return
        from flows.running.stage import run_stage

        made = run_stage(entry.load_flow(), parameters)
        results = results_in(made)
        if isinstance(parameters, StageParameters) and parameters.dry_run:
            print_plans(results, console)
            return
        if results:
            print_results(results, console)
        if entry.prints:
            entry.beside_flow(entry.prints)(made, console)

    command.__annotations__["parameters"] = Annotated[model, Parameter(name="*")]
    if not any(field.is_required() for field in model.model_fields.values()):
        command.__kwdefaults__ = {"parameters": model()}
    command.__doc__ = entry.deployed
    return command
