"""The command that shows the pipeline on music of its own making."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from flows.studies.demo_options import DemoParameters


def demo_command(
    *,
    parameters: Annotated[DemoParameters, Parameter(name="*")] = DemoParameters(),
) -> None:
    """Make a corpus and run the whole pipeline on it: about ten minutes on two cores."""
    console = Console()
    console.print(f"a corpus is made beside {parameters.workspace}, then all stages run on it")
    from flows.studies.demo import run_demo  # which takes seconds

    run_demo(parameters, console)
