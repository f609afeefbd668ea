"""The commands that follow what was made of what, and take music out of a workspace."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from storage.workspace import Workspace

console = Console()


def lineage(
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
    from flows.cli.lineage_summary import print_lineage
    from flows.provenance.lineage import lineage as walk

    found = walk(Workspace(workspace), name, most=most)
    if json:
        print(found.model_dump_json(indent=1))
    else:
        print_lineage(found, console)


def forget(
    *names: str,
    source: Annotated[str, Parameter(help="Glob of source files, such as '*/Artist/*'.")] = "",
    workspace: str = "workspace",
    dry_run: Annotated[bool, Parameter(help="Only show what would go.")] = False,
) -> None:
    """Remove tracks or labelled songs and all that was made of them; can't be undone.

    NAMES are ids of tracks or songs, or paths, URLs or names of source files. Models and detectors
    that heard them stay, and are listed: train them again.
    """
    from flows.cli.forget_summary import print_forgotten
    from flows.provenance.forget import forget as take_out

    place = Workspace(workspace)
    print_forgotten(place, take_out(place, names, source, dry_run=dry_run), console)
