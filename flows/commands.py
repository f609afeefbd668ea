"""The commands of ``silentmix``.

A stage's command takes the fields of that stage's parameters; ``--config FILE`` reads them from
YAML, and flags win over the file.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table

from flows import overview
from flows.calibration import PolicyOptions
from flows.cli import option
from flows.comparison_summary import print_comparison
from flows.configuration import UserError, load_config, stage_section
from flows.demo import DemoParameters, run_demo
from flows.evaluate import EvaluateParameters, Evaluation, evaluate
from flows.extract import ExtractParameters, extract
from flows.fit_detector import FitDetectorParameters, fit_detector
from flows.ingest import IngestParameters, ingest
from flows.parameters import describe
from flows.pipeline import STAGES, PipelineParameters, Stage, pipeline
from flows.remix import RemixParameters, remix
from flows.score import ScoreParameters, score
from flows.separate import SeparateParameters, separate_files
from flows.server import DEFAULT_PORT, configure_prefect, serve_ui
from flows.stage import StageResult
from flows.study_weak_length import WeakLengthParameters, study_weak_length
from flows.study_weak_length_report import write_weak_length_study
from flows.train import TrainParameters, train
from storage.discovery import DiscoveryError
from storage.labelled import LabelledSetError
from storage.listing import shown
from storage.manifests import ManifestError
from storage.weights import WeightsError
from storage.workspace import Workspace, WorkspaceError

USER_ERRORS = (
    UserError, WorkspaceError, ManifestError, LabelledSetError, DiscoveryError, WeightsError
)  # fmt: skip

STAGE_FLOWS: dict[str, tuple[Callable[[Any], Any], type[BaseModel]]] = {
    "ingest": (ingest, IngestParameters),
    "fit-detector": (fit_detector, FitDetectorParameters),
    "score": (score, ScoreParameters),
    "extract": (extract, ExtractParameters),
    "remix": (remix, RemixParameters),
    "train": (train, TrainParameters),
    "evaluate": (evaluate, EvaluateParameters),
}

app = cyclopts.App(
    name="silentmix",
    help="Train music source separation on unlabelled music: find the stretches in which a source "
    "is silent, remix them with known stems, train Demucs on both.\n\n"
    "Begin with `silentmix demo`. On your own music: `silentmix run --labelled MUSDB18 "
    "--unlabelled MUSIC --workspace RESULTS`, then `silentmix status --workspace RESULTS`. "
    "Every command continues where it stopped. `silentmix COMMAND --help` tells its parameters; "
    "`--config FILE` takes them from YAML, with a section a stage.",
    help_format="markdown",
    result_action="return_value",
)
stages_group = cyclopts.Group("Stages, one by one", sort_key=2)
main_group = cyclopts.Group("The whole pipeline", sort_key=1)
results_group = cyclopts.Group("Results", sort_key=3)
console = Console()


def run(arguments: Sequence[str], *, before_flow: Callable[[], None] | None = None) -> None:
    """Parse and run one command.

    Args:
        arguments: the command line, less the program's name.
        before_flow: called once the arguments are known to be right, before a flow runs.

    Raises:
        UserError: and the others of :data:`USER_ERRORS`, for what a user can mend.
    """
    config, tokens = option(arguments, "config")
    app.config = []
    if config and tokens:
        fields = _from_config(config, tokens[0])
        if tokens[0] in (*manifests_app.name, *study_app.name):
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
        raise UserError(f"{error} See --help.") from error
    if before_flow is not None:
        before_flow()
    command(*bound.args, **bound.kwargs)


def _from_config(path: str, command: str) -> dict[str, Any]:
    """The fields of one command, from a configuration file."""
    loaded = load_config(path)
    known = {name: set(model.model_fields) for name, (_, model) in STAGE_FLOWS.items()}
    known |= {"demo": set(DemoParameters.model_fields)}
    known |= {"separate": set(SeparateParameters.model_fields)}
    known[""] = set(PipelineParameters.model_fields) - {name.replace("-", "_") for name in STAGES}
    if command == "run":
        stage_section(loaded, "", known)
        return {name: value for name, value in loaded.items() if value is not None}
    if command not in known:
        return {key: loaded[key] for key in stage_section(loaded, "", known) if key == "workspace"}
    fields = stage_section(loaded, command, known)
    if command == "fit-detector":  # the policy that its thresholds are for, as in a `run`
        policy = stage_section(loaded, "extract", known)
        fields = {key: policy[key] for key in PolicyOptions.model_fields if key in policy} | fields
    return fields


def _add_stage(name: str, stage_flow: Callable[[Any], Any], model: type[BaseModel]) -> None:
    def command(parameters: BaseModel) -> None:
        made = stage_flow(parameters)
        if isinstance(made, Evaluation):
            print_results(made.results)
            print_comparison(made.comparison, made.location, console)
        else:
            print_results([made])

    command.__annotations__["parameters"] = Annotated[model, Parameter(name="*")]
    if not any(field.is_required() for field in model.model_fields.values()):
        command.__defaults__ = (model(),)
    command.__doc__ = inspect.getdoc(stage_flow)
    app.command(command, name=name, group=stages_group, sort_key=STAGES.index(name))


for _name, (_flow, _model) in STAGE_FLOWS.items():
    _add_stage(_name, _flow, _model)


@app.command(name="run", group=main_group)
def run_command(
    parameters: Annotated[PipelineParameters, Parameter(name="*")] = PipelineParameters(),
    *,
    only: Annotated[Stage | None, Parameter(help="Run this stage alone.")] = None,
) -> None:
    """Run the pipeline on your labelled set and your unlabelled music."""
    if only is not None:
        parameters = parameters.model_copy(update={"from_stage": only, "until_stage": only})
    print_results(pipeline(parameters))


@app.command(name="demo", group=main_group)
def demo_command(
    parameters: Annotated[DemoParameters, Parameter(name="*")] = DemoParameters(),
) -> None:
    """Make a corpus and run the whole pipeline on it: about ten minutes on two cores."""
    run_demo(parameters, console)


@app.command(name="separate", group=results_group)
def separate_command(
    *files: Annotated[str, Parameter(help="Files in any format; folders, globs, lists, URLs.")],
    parameters: Annotated[SeparateParameters, Parameter(name="*")] = SeparateParameters(),  # noqa: B008
) -> None:
    """Separate audio files into stems with a trained model.

    The stems of `song.mp3` become `separated/song/vocals.wav` and so on. They have the file's own
    sample rate, length and level, and are mono where it is; of more than two channels, stereo is
    left. Files of any length need the same memory.
    """
    for path in separate_files(files, parameters, _complain):
        console.print(shown(str(path)), soft_wrap=True, markup=False, highlight=False)


def _complain(problem: str) -> None:
    print(f"silentmix: {' '.join(problem.split())}", file=sys.stderr)


@app.command(group=results_group)
def status(*, workspace: str = "workspace") -> None:
    """Show what a workspace holds, corpus by corpus, stage by stage."""
    overview.print_status(workspace, console)


study_app = cyclopts.App(
    name="study", help="Measure what silentmix claims, and write tables and plots."
)
app.command(study_app)


@study_app.command(name="weak-length")
def study_weak_length_command(
    parameters: Annotated[WeakLengthParameters, Parameter(name="*")] = WeakLengthParameters(),  # noqa: B008
) -> None:
    """Measure what masks give: minutes of music for crops of any length, and validation SDR."""
    for path in write_weak_length_study(parameters, study_weak_length(parameters)):
        console.print(str(path), soft_wrap=True, markup=False, highlight=False)


manifests_app = cyclopts.App(
    name="manifests", help="Look into the Parquet manifests.", group=results_group
)
app.command(manifests_app)


@manifests_app.command(name="list")
def list_manifests(*, workspace: str = "workspace") -> None:
    """List the partitions of every manifest, with their rows."""
    overview.print_manifests(workspace, console)


@manifests_app.command(name="show")
def show_manifest(
    table: str, *, workspace: str = "workspace", corpus: str = "", rows: int = 20
) -> None:
    """Show a manifest's fields and its first rows."""
    overview.print_rows(workspace, table, corpus, rows, console)


@manifests_app.command(name="query")
def query_manifests(sql: str, *, workspace: str = "workspace") -> None:
    """Run SQL over the manifests; each is a table of its name.

    For example `silentmix manifests query "SELECT reason, count(*) FROM rejects GROUP BY reason"`.
    """
    overview.print_query(workspace, sql, console)


@app.command(group=results_group)
def ui(*, workspace: str = "workspace", port: int = DEFAULT_PORT) -> None:
    """Open the Prefect UI on the runs of a workspace."""
    Workspace(workspace)
    configure_prefect(workspace, os.environ)
    raise SystemExit(serve_ui(port, os.environ))


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
