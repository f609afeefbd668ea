"""Parses a command line and runs its command.

A stage's command takes the fields of that stage's parameters; ``--config FILE`` reads them from
YAML, and flags win over the file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import cyclopts
from pydantic import BaseModel, ValidationError

from flows.catalogue import CATALOGUE, CHAIN, load
from flows.cli.commands import AHEAD, NAMES, SERVED, app_with, wants_help
from flows.cli.complaints import complaint
from flows.cli.configuration import load_config, option, stage_section
from flows.running.wrong_values import describe
from storage.errors import UserError

GROUPED = ("convert", "export", "manifests", "study")
"""Commands that have commands of their own."""

OWN_PARAMETERS = {
    "demo": "flows.studies.demo_options.DemoParameters",
    "init": "flows.running.music_options.InitParameters",
    "separate": "flows.separate.options.SeparateParameters",
}
"""Models of the parameters of commands that are no flow's."""


def run(arguments: Sequence[str], *, before_flow: Callable[[], None] | None = None) -> int:
    """Parse and run one command; returns the exit status.

    Args:
        arguments: the command line, less the program's name.
        before_flow: called once the arguments are known to be right, before a flow runs.

    Raises:
        UserError: what a user can mend.
    """
    config, tokens = option(arguments, "config")
    app = app_with([name for name in NAMES if name in tokens[:1]], for_help=wants_help(tokens))
    if config and tokens:
        fields = _from_config(config, tokens[0])
        if tokens[0] in GROUPED:
            fields = dict.fromkeys(tokens[1:2], fields)
        app.config = [cyclopts.config.Dict({tokens[0]: fields})]
    try:
        command, bound, _ = app.parse_args(
            _readable(tokens), exit_on_error=False, print_error=False
        )
    except cyclopts.ValidationError as error:
        cause = error.__cause__
        if isinstance(cause, ValidationError):
            raise UserError(describe(cause)) from error
        raise UserError(str(error)) from error
    except cyclopts.CycloptsError as error:
        raise UserError(complaint(error, tokens)) from error
    if before_flow is not None:
        if where := AHEAD.get(tokens[0]):
            load(where)(*bound.args, **bound.kwargs)
        before_flow()
    served = tokens[:1] and tokens[0] in SERVED and not wants_help(tokens)
    with _tagged() if served else nullcontext():
        status: int | None = command(*bound.args, **bound.kwargs)
    return status or 0


def require_no_stray_words(arguments: Sequence[str]) -> None:
    """Refuse words that no command takes, before what the others mean is looked at.

    Raises:
        UserError: names them.
    """
    _, tokens = option(arguments, "config")
    app = app_with([name for name in NAMES if name in tokens[:1]])
    try:
        app.parse_args(_readable(tokens), exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        if error.unused_tokens:
            raise UserError(complaint(error, tokens)) from error


def _readable(tokens: Sequence[str]) -> list[str]:
    """The command line with the standard input's name, ``-``, where it is taken for no option.

    >>> _readable(["separate", "-", "--only", "vocals"])
    ['separate', '--only', 'vocals', '--', '-']
    """
    if tokens[:1] != ["separate"] or "-" not in tokens or "--" in tokens:
        return list(tokens)
    return [*(word for word in tokens if word != "-"), "--", "-"]


def _tagged() -> AbstractContextManager[Any]:
    """Flow runs in it have the tag that says whose they are."""
    from prefect import tags

    from flows.server.announcements import TAG

    return tags(TAG)


def is_server_gone(error: Exception) -> bool:
    """Whether an error says that the Prefect server does not answer."""
    if "prefect" not in sys.modules:
        return False
    import httpx
    from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

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
    models |= {name: load(where) for name, where in OWN_PARAMETERS.items()}
    known = {name: set(model.model_fields) for name, model in models.items()}
    chain = load("flows.pipeline.options.PipelineParameters")
    known[""] = set(chain.model_fields) - {entry.field for entry in CHAIN}
    if command == "run":
        stage_section(loaded, "", known)
        return {name: value for name, value in loaded.items() if value is not None}
    if command not in known:
        return {key: loaded[key] for key in stage_section(loaded, "", known) if key == "workspace"}
    fields = stage_section(loaded, command, known)
    policy_options = load("flows.policy.options.PolicyOptions")
    if issubclass(models[command], policy_options):
        # the policy that thresholds are for, as in a `run`
        policy = stage_section(loaded, "extract", known)
        fields = {key: policy[key] for key in policy_options.model_fields if key in policy} | fields
    return fields
