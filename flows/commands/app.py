"""The commands of ``silentmix``.

A stage's command takes the fields of that stage's parameters; ``--config FILE`` reads them from
YAML, and flags win over the file.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import httpx
from cyclopts import Parameter
from prefect import Flow, tags
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from flows.audit import AuditParameters
from flows.cli import option
from flows.commands import overview, service_commands
from flows.commands.audit_files import export_audit, import_answers, print_audit
from flows.commands.demo import DemoParameters, run_demo
from flows.commands.forget_summary import print_forgotten
from flows.commands.lineage_summary import print_lineage
from flows.commands.separate import SeparateParameters, separate_files
from flows.evaluate import EvaluateParameters, Evaluation, evaluate
from flows.extract import ExtractParameters, extract
from flows.fit_detector import FitDetectorParameters, fit_detector
from flows.forecast import ForecastParameters, forecast, print_forecast
from flows.ingest import IngestParameters, ingest
from flows.pipeline import STAGES, PipelineParameters, Stage, pipeline
from flows.provenance.forget import forget
from flows.provenance.lineage import lineage
from flows.remix import RemixParameters, remix
from flows.reports.comparison_summary import print_comparison
from flows.running.announcements import TAG
from flows.running.configuration import UserError, load_config, stage_section
from flows.running.parameters import StageParameters, describe
from flows.running.stage import StageResult, run_stage
from flows.score import ScoreParameters, score
from flows.steps.calibration import PolicyOptions
from flows.studies.detector import StudyDetectorParameters, study_detector
from flows.studies.detector_report import write_detector_study
from flows.studies.weak_length import WeakLengthParameters, study_weak_length
from flows.studies.weak_length_report import write_weak_length_study
from flows.train import TrainParameters, train
from flows.yields import YieldsParameters, print_yields, yields
from storage.discovery import DiscoveryError
from storage.labelled import LabelledSetError
from storage.listing import shown
from storage.manifests import ManifestError
from storage.weights import WeightsError
from storage.workspace import Workspace, WorkspaceError

USER_ERRORS = (
    UserError, WorkspaceError, ManifestError, LabelledSetError, DiscoveryError, WeightsError
)  # fmt: skip

STAGE_FLOWS: dict[str, tuple[Flow[..., Any], type[StageParameters]]] = {
    "ingest": (ingest, IngestParameters),
    "fit-detector": (fit_detector, FitDetectorParameters),
    "score": (score, ScoreParameters),
    "extract": (extract, ExtractParameters),
    "remix": (remix, RemixParameters),
    "train": (train, TrainParameters),
    "evaluate": (evaluate, EvaluateParameters),
}

POLICY_READERS = ("fit-detector", "yields", "forecast")
"""Commands that take the extraction policy from the configuration of ``extract``."""

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
service_group = cyclopts.Group("Schedules, automations and the Prefect UI", sort_key=4)
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
    known = {name: set(model.model_fields) for name, (_, model) in STAGE_FLOWS.items()}
    known |= {"demo": set(DemoParameters.model_fields)}
    known |= {"separate": set(SeparateParameters.model_fields)}
    known |= {"yields": set(YieldsParameters.model_fields)}
    known |= {"forecast": set(ForecastParameters.model_fields)}
    known[""] = set(PipelineParameters.model_fields) - {name.replace("-", "_") for name in STAGES}
    if command == "run":
        stage_section(loaded, "", known)
        return {name: value for name, value in loaded.items() if value is not None}
    if command not in known:
        return {key: loaded[key] for key in stage_section(loaded, "", known) if key == "workspace"}
    fields = stage_section(loaded, command, known)
    if command in POLICY_READERS:  # the policy that thresholds are for, as in a `run`
        policy = stage_section(loaded, "extract", known)
        fields = {key: policy[key] for key in PolicyOptions.model_fields if key in policy} | fields
    return fields


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


@app.command(name="yields", group=results_group)
def yields_command(
    parameters: Annotated[YieldsParameters, Parameter(name="*")] = YieldsParameters(),  # noqa: B008
) -> None:
    """Show what other thresholds and minimum lengths would extract; writes nothing.

    Minutes a source over a scored corpus, with the calibrated choice marked. Run it before
    `extract`, to choose a policy by looking.
    """
    print_yields(yields(parameters), console)


@app.command(name="forecast", group=results_group)
def forecast_command(
    parameters: Annotated[ForecastParameters, Parameter(name="*")] = ForecastParameters(),  # noqa: B008
) -> None:
    """Say from a small sample what a corpus would give, before all of it is scored.

    Scores a random sample of its tracks, and tells the hours a source that the policy would
    extract from the whole corpus, and how long scoring the rest would take. The scores are kept.
    """
    made = run_stage(forecast, parameters)
    if isinstance(made, StageResult):
        print_plans([made])
    else:
        print_forecast(made, console)


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


@study_app.command(name="detector")
def study_detector_command(
    parameters: Annotated[StudyDetectorParameters, Parameter(name="*")] = StudyDetectorParameters(),  # noqa: B008
) -> None:
    """Measure the detectors on songs whose instruments they never heard, against the truth."""
    for path in write_detector_study(parameters, study_detector(parameters)):
        console.print(str(path), soft_wrap=True, markup=False, highlight=False)


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


@app.command(name="lineage", group=results_group)
def lineage_command(
    name: str,
    *,
    workspace: str = "workspace",
    most: Annotated[int, Parameter(help="Names to list of each manifest; 0 lists all.")] = 20,
    json: Annotated[bool, Parameter(help="Print JSON.")] = False,
) -> None:
    """Show what something came from, and what came of it.

    NAME is the id of a model, detector, track, song, segment or remix, or the path, URL or name of
    a source file. From a model it leads to its remixes, segments, tracks and files; from a file to
    every model that heard it.
    """
    found = lineage(Workspace(workspace), name, most=most)
    if json:
        print(found.model_dump_json(indent=1))
    else:
        print_lineage(found, console)


@app.command(name="audit", group=results_group)
def audit_command(
    parameters: Annotated[AuditParameters, Parameter(name="*")] = AuditParameters(),  # noqa: B008
    *,
    export: Annotated[str, Parameter(help="Folder to write sounds and answers.csv to.")] = "",
    answers: Annotated[str, Parameter(help="The answers.csv, filled in.")] = "",
) -> None:
    """Listen to a sample of what was extracted, to learn how precise it is on your own music.

    `--export FOLDER` writes the sounds and a table; write yes, no or ? into its column `silent` and
    give it back with `--answers FOLDER/answers.csv`. Or run the deployment `audit` in the Prefect
    UI, which plays them and asks. `silentmix extract --audit ID` then uses what was heard.
    """
    if bool(export) == bool(answers):
        raise UserError("give --export FOLDER or --answers FILE; in the UI, run the flow `audit`")
    if export:
        count = export_audit(parameters, Path(export))
        console.print(f"{count} clips to answer in {export}/answers.csv", highlight=False)
    else:
        print_audit(*import_answers(Path(answers), parameters.workspace), console)


@app.command(name="forget", group=results_group)
def forget_command(
    *names: str,
    source: Annotated[str, Parameter(help="Glob of source files, such as '*/Artist/*'.")] = "",
    workspace: str = "workspace",
    dry_run: Annotated[bool, Parameter(help="Only show what would go.")] = False,
) -> None:
    """Remove tracks or labelled songs and all that was made of them; can't be undone.

    NAMES are ids of tracks or songs, or paths, URLs or names of source files. Models and detectors
    that heard them stay, and are listed: train them again.
    """
    print_forgotten(forget(Workspace(workspace), names, source, dry_run=dry_run), console)


for _name, _service_command in service_commands.COMMANDS.items():
    app.command(_service_command, name=_name, group=service_group)


def print_plans(results: Sequence[StageResult]) -> None:
    """A line a stage of a dry run: what it would make, how much is left to do, from what."""
    rows = []
    for result in results:
        todo, reads = f"known once {result.waits_for} has run", ""
        if (plan := result.plan) is not None:
            todo = f"{plan.pending} of {plan.total} {plan.unit}"
            reads = ", ".join(plan.reads)
        rows.append([result.stage, result.corpus, result.fingerprint, todo, reads])
    overview.print_table(console, ["stage", "corpus", "makes", "to do", "from"], rows)


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
