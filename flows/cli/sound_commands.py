"""The commands that let music be heard: separate it, and listen to what was extracted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from flows.audit.options import AuditParameters
from flows.cli.lines import complain, say
from flows.separate.options import SeparateParameters
from storage.errors import UserError

console = Console()


def separate(
    *files: Annotated[str, Parameter(help="Files in any format; folders, globs, lists, URLs.")],
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
    from flows.audit.files import export_audit, import_answers, print_audit

    if export:
        count = export_audit(parameters, Path(export))
        console.print(f"{count} clips to answer in {export}/answers.csv", highlight=False)
    else:
        print_audit(*import_answers(Path(answers), parameters.workspace), console)
