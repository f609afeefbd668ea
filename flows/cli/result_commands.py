"""The commands that look at what is there, and choose, use or forget it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from flows.audit.files import export_audit, import_answers, print_audit
from flows.audit.flow import AuditParameters
from flows.cli import overview
from flows.cli.forget_summary import print_forgotten
from flows.cli.lineage_summary import print_lineage
from flows.cli.pipeline_commands import groups
from flows.convert.command import ConvertParameters, convert_demucs
from flows.provenance.forget import forget
from flows.provenance.lineage import lineage
from flows.separate.command import SeparateParameters, separate_files
from flows.train.publish import publish
from storage.errors import UserError
from storage.listing import shown
from storage.workspace import Workspace

app = cyclopts.App()
console = Console()


@app.command(name="separate", group=groups["results"])
def separate_command(
    *files: Annotated[str, Parameter(help="Files in any format; folders, globs, lists, URLs.")],
    parameters: Annotated[SeparateParameters, Parameter(name="*")] = SeparateParameters(),  # noqa: B008
) -> None:
    """Separate audio files into stems with a trained model.

    The stems of ``song.mp3`` become ``separated/song/vocals.wav`` and so on. They have the file's
    own sample rate, length and level, and are mono where it is; of more than two channels, stereo
    is left. Files of any length need the same memory.
    """
    for path in separate_files(files, parameters, _complain):
        console.print(shown(str(path)), soft_wrap=True, markup=False, highlight=False)


convert_app = cyclopts.App(
    name="convert", help="Make a model of other projects' weights.", group=groups["results"]
)
app.command(convert_app)


@convert_app.command(name="demucs")
def convert_demucs_command(
    file: str,
    *,
    parameters: Annotated[ConvertParameters, Parameter(name="*")] = ConvertParameters(),  # noqa: B008
) -> None:
    """Make a folder with a model of a package file (.th) of the official demucs.

    Such a file is a pickle, which can run programs. It is read once, in a process of its own, which
    knows the official classes alone and says what it unpickled; a file that names anything else is
    refused without `--trust`. `separate --model` and `train --init-from` take the folder.
    """
    folder = convert_demucs(
        file, parameters, lambda line: console.print(shown(line), soft_wrap=True)
    )
    console.print(shown(str(folder)), soft_wrap=True, markup=False, highlight=False)


def _say(line: str) -> None:
    console.print(shown(line), soft_wrap=True, markup=False, highlight=False)


def _complain(problem: str) -> None:
    print(f"silentmix: {' '.join(problem.split())}", file=sys.stderr)


@app.command(group=groups["results"])
def status(*, workspace: str = "workspace") -> None:
    """Show what a workspace holds, corpus by corpus, stage by stage."""
    overview.print_status(workspace, console)


@app.command(name="publish", group=groups["results"])
def publish_command(training: str, *, workspace: str = "workspace") -> None:
    """Make a model of the best weights so far of a training that is not over.

    TRAINING is an id that ``status`` lists. The model has an id of its own, and is evaluated, used
    and exported like any other; the training goes on beside it.
    """
    print(publish(Workspace(workspace), training))


@app.command(name="lineage", group=groups["results"])
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


@app.command(name="audit", group=groups["results"])
def audit_command(
    *,
    parameters: Annotated[AuditParameters, Parameter(name="*")] = AuditParameters(),  # noqa: B008
    export: Annotated[str, Parameter(help="Folder to write sounds and answers.csv to.")] = "",
    answers: Annotated[str, Parameter(help="The answers.csv, filled in.")] = "",
) -> None:
    """Listen to a sample of what was extracted, to learn how precise it is on your own music.

    ``--export FOLDER`` writes the sounds and a table; write yes, no or ? into its column ``silent``
    and give it back with ``--answers FOLDER/answers.csv``. Or run the deployment ``audit`` in the
    Prefect UI, which plays them and asks. ``silentmix extract --audit ID`` then uses what was
    heard.
    """
    if bool(export) == bool(answers):
        raise UserError("give --export FOLDER or --answers FILE; in the UI, run the flow `audit`")
    if export:
        count = export_audit(parameters, Path(export))
        console.print(f"{count} clips to answer in {export}/answers.csv", highlight=False)
    else:
        print_audit(*import_answers(Path(answers), parameters.workspace), console)


@app.command(name="forget", group=groups["results"])
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


manifests_app = cyclopts.App(
    name="manifests", help="Look into the Parquet manifests.", group=groups["results"]
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

    For example
    ``silentmix manifests query "SELECT reason, count(*) FROM rejects GROUP BY reason"``.
    """
    overview.print_query(workspace, sql, console)
