"""The commands of ``silentmix``: what each is called, where it is, and its line in the list of all.

The module of a command is imported when that command is asked for: whoever looks into a workspace
does not wait for torch.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import cyclopts
import docstring_parser
from docstring_parser import DocstringStyle

from flows.catalogue import CATALOGUE, Entry, load

GROUPS = {
    "pipeline": cyclopts.Group("The whole pipeline", sort_key=1),
    "stages": cyclopts.Group("Stages, one by one", sort_key=2),
    "results": cyclopts.Group("Results", sort_key=3),
    "service": cyclopts.Group("Schedules, automations and the Prefect UI", sort_key=4),
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: of the command.
        group: under which it is listed.
        says: what it does, in a line.
        where: the function or application, ``module.name``; empty for a flow's own command.
        described: the function, ``module.name``, of which the help tells; empty for the command's
            own.
        entry: the flow whose command it is.
        ahead: the function, ``module.name``, that takes what the command takes, and refuses what
            can be known to fail before there is a server.
    """

    name: str
    group: str
    says: str
    where: str = ""
    described: str = ""
    entry: Entry | None = None
    ahead: str = ""

    def load(self, *, for_help: bool = False) -> Callable[..., Any] | cyclopts.App:
        """Import it, or what is described in its place."""
        if self.entry is not None:
            make: Callable[[Entry], Callable[..., Any]] = load("flows.cli.stage_command.command_of")
            return make(self.entry)
        found: Callable[..., Any] | cyclopts.App = load((for_help and self.described) or self.where)
        return found


def _own(name: str, group: str, where: str, says: str, *, ahead: str = "") -> Command:
    return Command(name=name, group=group, where=f"flows.cli.{where}", says=says, ahead=ahead)


def _of_flow(entry: Entry) -> Command:
    says = f"{entry.deployed.split('. ')[0].rstrip('.')}."
    return Command(name=entry.name, group=entry.group, says=says, entry=entry)


COMMANDS: tuple[Command, ...] = (
    Command(name="run", group="pipeline", where="flows.cli.pipeline_commands.run_command",
            says="Run the pipeline on your labelled set and your unlabelled music.",
            described="flows.cli.run_help.run", ahead="flows.cli.pipeline_commands.run_ahead"),
    _own("init", "pipeline", "workspace_commands.init",
         "Begin a workspace, and say what music it is to hold."),
    _own("demo", "pipeline", "demo_command.demo_command",
         "Make a corpus and run the whole pipeline on it: about ten minutes on two cores."),
    _own("study", "pipeline", "study_commands.app",
         "Measure what silentmix claims, and write tables and plots."),
    *(_of_flow(entry) for entry in CATALOGUE if not entry.own_command),
    _own("separate", "results", "sound_commands.separate",
         "Separate audio files into stems with a trained model."),
    _own("publish", "results", "model_commands.publish",
         "Make a model of the best weights so far of a training that is not over."),
    _own("convert", "results", "model_commands.convert_app",
         "Make a model of other projects' weights."),
    _own("export", "results", "export_commands.export_app",
         "Take a model, or training data, elsewhere."),
    _own("status", "results", "workspace_commands.status",
         "Show what a workspace holds, corpus by corpus, stage by stage."),
    _own("models", "results", "network_commands.models_app",
         "List the models of a workspace: what they heard, what they cost, their scores."),
    _own("detectors", "results", "network_commands.detectors_app",
         "List the detectors of a workspace: what they heard, what they cost, their scores."),
    _own("lineage", "results", "provenance_commands.lineage",
         "Show what something came from, and what came of it."),
    _own("audit", "results", "sound_commands.audit",
         "Listen to a sample of what was extracted, to learn how precise it is on your own music."),
    _own("forget", "results", "provenance_commands.forget",
         "Remove tracks or labelled songs and all that was made of them; can't be undone."),
    _own("fsck", "results", "workspace_commands.fsck",
         "Look for damage: a line for each thing found, with what it touches, and how to mend it."),
    _own("manifests", "results", "workspace_commands.manifests_app",
         "Look into the Parquet manifests."),
    _own("up", "service", "service_commands.up",
         "Start a Prefect server, workers, deployments and automations; print the UI's address."),
    _own("down", "service", "service_commands.down",
         "Stop what ``silentmix up`` started."),
    _own("doctor", "service", "service_commands.doctor",
         "Say what is wrong with the installation and the service, and how to mend it."),
)  # fmt: skip
"""Every command, as the help lists them."""

OF_MANY_FLOWS = ("run", "demo", "study")
SERVED: tuple[str, ...] = (
    *OF_MANY_FLOWS, "audit", *(command.name for command in COMMANDS if command.entry is not None)
)  # fmt: skip
"""Commands that run flows, for which there must be a Prefect server."""

NAMES: tuple[str, ...] = tuple(command.name for command in COMMANDS)
AHEAD: Mapping[str, str] = {command.name: command.ahead for command in COMMANDS if command.ahead}
"""What refuses before there is a server, by command."""


def wants_help(arguments: Collection[str]) -> bool:
    """Whether a command line asks for help, for which nothing has to be there."""
    return not {"--help", "-h"}.isdisjoint(arguments)


def app_with(loaded: Collection[str], *, for_help: bool = False) -> cyclopts.App:
    """The command line, with some commands imported; the others are there by name alone.

    Args:
        loaded: names of the commands that can be parsed and run.
        for_help: they are to be described alone.
    """
    docstring_parser.parse_from_object = _docstring
    app = cyclopts.App(
        name="silentmix",
        version=lambda: importlib.metadata.version("silentmix"),
        help="Train music source separation on unlabelled music: find the stretches in which a "
        "source is silent, remix them with known stems, train Demucs on both.\n\n"
        "Begin with `silentmix demo`. On your own music: `silentmix run --labelled MUSDB18 "
        "--unlabelled MUSIC --workspace RESULTS`, then `silentmix status --workspace RESULTS`. "
        "Every command continues where it stopped. `silentmix COMMAND --help` tells its "
        "parameters; `--config FILE` takes them from YAML, with a section a stage. "
        "Lists have commas between their values (`--libraries a,b`), or their option several "
        "times.",
        help_format="markdown",
        result_action="return_value",
    )
    for place, command in enumerate(COMMANDS):
        listed: dict[str, Any] = {"group": GROUPS[command.group], "sort_key": place}
        if command.name not in loaded:
            app.command(command.where, name=command.name, help=command.says, **listed)
            continue
        found = command.load(for_help=for_help)
        if isinstance(found, cyclopts.App):
            found.group, found.sort_key = listed["group"], place
            app.command(found)
        else:
            app.command(found, name=command.name, **listed)
    return app


def _docstring(obj: Any, style: DocstringStyle = DocstringStyle.AUTO) -> docstring_parser.Docstring:
    """What cyclopts knows of a class or function beside its fields' own descriptions.

    The library's function looks for strings below attributes, in the source of every base class,
    which takes most of the time of ``run --help``; there are none here.
    """
    return docstring_parser.parse(obj.__doc__ or "", style)
