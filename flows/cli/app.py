"""The commands of ``silentmix``.

A stage's command takes the fields of that stage's parameters; ``--config FILE`` reads them from
YAML, and flags win over the file.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

import cyclopts
import httpx
from prefect import tags
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from pydantic import BaseModel, ValidationError

from flows.catalogue import CATALOGUE, CHAIN
from flows.cli import pipeline_commands, result_commands, service_commands, study_commands
from flows.cli.complaints import complaint
from flows.cli.configuration import load_config, option, stage_section
from flows.cli.demo import DemoParameters
from flows.pipeline.flow import PipelineParameters
from flows.policy.calibration import PolicyOptions
from flows.running.music_options import InitParameters
from flows.running.parameters import describe
from flows.separate.command import SeparateParameters
from flows.server.announcements import TAG
from storage.errors import UserError

GROUPED = ("convert", "export", "manifests", "study")
"""Commands that have commands of their own."""

app = cyclopts.App(
    name="silentmix",
    version=lambda: importlib.metadata.version("silentmix"),
    help="Train music source separation on unlabelled music: find the stretches in which a source "
    "is silent, remix them with known stems, train Demucs on both.\n\n"
    "Begin with `silentmix demo`. On your own music: `silentmix run --labelled MUSDB18 "
    "--unlabelled MUSIC --workspace RESULTS`, then `silentmix status --workspace RESULTS`. "
    "Every command continues where it stopped. `silentmix COMMAND --help` tells its parameters; "
    "`--config FILE` takes them from YAML, with a section a stage.",
    help_format="markdown",
    result_action="return_value",
)
for _commands in (pipeline_commands, result_commands, service_commands):
    app.command(_commands.app, name="*")
app.command(study_commands.app)


def run(arguments: Sequence[str], *, before_flow: Callable[[], None] | None = None) -> None:
    """Parse and run one command.

    Args:
        arguments: the command line, less the program's name.
        before_flow: called once the arguments are known to be right, before a flow runs.

    Raises:
        UserError: what a user can mend.
    """
    config, tokens = option(arguments, "config")
    app.config = []
    if config and tokens:
        fields = _from_config(config, tokens[0])
        if tokens[0] in GROUPED:
            fields = dict.fromkeys(tokens[1:2], fields)
        app.config = [cyclopts.config.Dict({tokens[0]: fields})]
    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except cyclopts.ValidationError as error:
        cause = error.__cause__
        if isinstance(cause, ValidationError):
            raise UserError(describe(cause)) from error
        raise UserError(str(error)) from error
    except cyclopts.CycloptsError as error:
        raise UserError(complaint(error, tokens)) from error
    if before_flow is not None:
        before_flow()
    with tags(TAG):
        command(*bound.args, **bound.kwargs)


def is_server_gone(error: Exception) -> bool:
    """Whether an error says that the Prefect server does not answer."""
    return isinstance(error, httpx.TransportError | ConcurrencySlotAcquisitionError) or (
        # what Prefect says where it had not reached it before
        isinstance(error, RuntimeError) and str(error).startswith("Failed to reach API")
    )


def _from_config(path: str, command: str) -> dict[str, Any]:
    """The fields of one command, from a configuration file."""
    loaded = load_config(path)
    models: dict[str, type[BaseModel]] = {
        entry.name: entry.load_parameters() for entry in CATALOGUE if not entry.own_command
    }
    models |= {"demo": DemoParameters, "init": InitParameters, "separate": SeparateParameters}
    known = {name: set(model.model_fields) for name, model in models.items()}
    known[""] = set(PipelineParameters.model_fields) - {entry.field for entry in CHAIN}
    if command == "run":
        stage_section(loaded, "", known)
        return {name: value for name, value in loaded.items() if value is not None}
    if command not in known:
        return {key: loaded[key] for key in stage_section(loaded, "", known) if key == "workspace"}
    fields = stage_section(loaded, command, known)
    if issubclass(models[command], PolicyOptions):
        # the policy that thresholds are for, as in a `run`
        policy = stage_section(loaded, "extract", known)
        fields = {key: policy[key] for key in PolicyOptions.model_fields if key in policy} | fields
    return fields
