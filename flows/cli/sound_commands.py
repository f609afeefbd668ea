"""The commands that let music be heard: separate it, and listen to what was extracted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from flows.audit.options import AuditParameters
from flows.cli.lines import complain, say
from flows.separate.options import SeparateParameters
from storage.errors import UserError
from storage.workspace import Workspace

console = Console()


def separate(
    *files: Annotated[
        str,
        Parameter(
            help="Files in any format; folders, globs, lists, URLs; `-` is the standard input."
        ),
    ],
    parameters: Annotated[SeparateParameters, Parameter(name="*")] = SeparateParameters(),  # noqa: B008
) -> None:
    """Separate audio files into stems with a trained model.

    The stems of ``song.mp3`` become ``separated/song/vocals.wav`` and so on. They have the file's
    own sample rate, length and level, and are mono where it is; of more than two channels, stereo
    is left. Files of any length need the same memory.
    """
    from flows.separate.command import separate_files

    for path in separate_files(files, parameters, complain):
        say(str(path))


def audit(
    *,
    parameters: Annotated[AuditParameters, Parameter(name="*")] = AuditParameters(),  # noqa: B008
    export: Annotated[str, Parameter(help="Folder to write sounds and answers.csv to.")] = "",
    form: Annotated[
        Literal["csv", "label-studio"],
        Parameter(name="--as", help="What to export: a table, or tasks for Label Studio."),
    ] = "csv",
    answers: Annotated[
        str, Parameter(help="The answers.csv, filled in, or what Label Studio exported.")
    ] = "",
    listen: Annotated[bool, Parameter(help="Answer by keyboard on a page.", negative="")] = False,
) -> None:
    """Listen to a sample of what was extracted, to learn how precise it is on your own music.

    ``--listen`` gives the address of a page that plays a segment after the other and takes answers
    by keyboard; where ``silentmix up`` runs, it is that server's. ``--export FOLDER`` writes the
    sounds and a table; write yes, no or ? into its column ``silent`` and give it back with
    ``--answers FOLDER/answers.csv``. Or run the deployment ``audit`` in the Prefect UI, which plays
    them and asks. ``silentmix extract --audit ID`` then uses what was heard.
    """
    if [bool(export), bool(answers), listen].count(True) != 1:
        raise UserError(
            "give --listen, --export FOLDER or --answers FILE; in the UI, run the flow `audit`"
        )
    if "://" in export:
        raise UserError(f"export: {export!r} is no folder of this machine")
    if listen:
        _listen(parameters)
        return
    from flows.audit.files import export_audit, import_answers, print_audit

    if export:
        count = export_audit(parameters, Path(export), form)
        where = "answers.csv" if form == "csv" else "tasks.json and interface.xml"
        console.print(f"{count} clips to answer in {export}: {where}", highlight=False)
    else:
        name, said = import_answers(Path(answers), parameters.workspace)
        print_audit(Workspace(parameters.workspace), name, said, console)


def _listen(parameters: AuditParameters) -> None:
    """Say where the page is: of the service that runs, or else of a server until Ctrl-C."""
    from flows.audit.sample import audit_of, draw_clips, segments_of
    from flows.server.login import FILE, login_of
    from flows.server.process import REPORTS_VARIABLE, desk_path, make_home
    from flows.service.state import service_home, standing_server
    from storage.tables.manifests import Manifests

    manifests = Manifests(Workspace(parameters.workspace))
    draw_clips(manifests, parameters)  # refused here, and not on the page
    segments = segments_of(manifests, parameters).fingerprint
    page = desk_path(parameters.corpus, {**parameters.question(), "segments": segments})
    home = service_home(parameters.workspace, os.environ)
    address = standing_server(home) if REPORTS_VARIABLE in os.environ else ""

    def invite(address: str) -> None:
        shown = sys.stdout.isatty()  # for a person's eyes alone
        say(f"log in with {login_of(home)}" if shown else f"its login is in {home / FILE}")
        say(f"listen and answer: {address}{page}")

    if address:
        invite(address)
        return
    from flows.audit.desk_server import serve_desk
    from flows.audit.files import print_audit
    from flows.audit.result import precision_rows

    make_home({"PREFECT_HOME": str(home)})
    serve_desk(manifests.workspace.location, login_of(home), invite)
    audit = audit_of(manifests, parameters)
    target, confidence = parameters.target_precision, parameters.confidence
    said = precision_rows(Manifests(manifests.workspace), audit, target, confidence)
    print_audit(manifests.workspace, audit.fingerprint, said, console)
