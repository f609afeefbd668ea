"""The commands that begin a workspace, look into it, and take music out of it; none needs torch."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from flows.cli import overview
from flows.cli.forget_summary import print_forgotten
from flows.cli.lineage_summary import print_lineage
from flows.cli.lines import say
from flows.provenance import forget as forgetting
from flows.provenance import lineage as walk
from flows.running.music_options import InitParameters
from storage.workspace import Workspace

console = Console()


def init(
    *,
    parameters: Annotated[InitParameters, Parameter(name="*")] = InitParameters(),  # noqa: B008
) -> None:
    """Begin a workspace, and say what music it is to hold.

    Needed where the sources are not drums, bass, other, vocals at 44.1 kHz in stereo; ``ingest``
    and ``run`` take the same options. A workspace keeps its music for good.
    """
    workspace = parameters.begin(parameters.workspace)
    say(f"{workspace.location}: {workspace.music}")


def status(*, workspace: str = "workspace") -> None:
    """Show what a workspace holds, corpus by corpus, stage by stage."""
    overview.print_status(workspace, console)


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
    found = walk.lineage(Workspace(workspace), name, most=most)
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
    print_forgotten(
        forgetting.forget(Workspace(workspace), names, source, dry_run=dry_run), console
    )


def fsck(
    *,
    workspace: str = "workspace",
    audio: Annotated[
        bool, Parameter(help="Read all audio, and compare it with its hashes; takes a while.")
    ] = False,
    repair: Annotated[
        bool, Parameter(help="Move what is damaged into the workspace's folder quarantine/.")
    ] = False,
) -> int:
    """Look for damage: a line for each thing found, with what it touches, and how to mend it.

    Every part is read, every reference looked up, every file of audio measured, and all weights are
    loaded. Let no stage run meanwhile. With ``--repair``, what stages make again and what nobody
    reads is moved away, never deleted; the commands that make it again are printed. The exit status
    is 1 where anything was found.
    """
    from flows.cli.fsck_summary import print_examination
    from flows.fsck.command import examine

    found = examine(Workspace(workspace), samples=audio, repair=repair)
    print_examination(found)
    return 1 if found.findings else 0


manifests_app = cyclopts.App(name="manifests", help="Look into the Parquet manifests.")


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
def query_manifests(
    sql: str,
    *,
    workspace: str = "workspace",
    limit_s: Annotated[float, Parameter(help="Seconds after which it is given up.")] = 3600,
) -> None:
    """Run SQL over the manifests; each is a table of its name. It reads nothing else.

    For example
    ``silentmix manifests query "SELECT reason, count(*) FROM rejects GROUP BY reason"``.
    """
    overview.print_query(workspace, sql, console, limit_s=limit_s)
