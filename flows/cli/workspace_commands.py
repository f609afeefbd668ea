"""The commands that begin a workspace and look into it; none needs torch."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from flows.cli.lines import say
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
    from flows.cli.overview import print_status

    print_status(workspace, console)


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
    from flows.cli.overview import print_manifests

    print_manifests(workspace, console)


@manifests_app.command(name="show")
def show_manifest(
    table: str, *, workspace: str = "workspace", corpus: str = "", rows: int = 20
) -> None:
    """Show a manifest's fields and its first rows."""
    from flows.cli.overview import print_rows

    print_rows(workspace, table, corpus, rows, console)


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
    from flows.cli.query import print_query  # DuckDB and Arrow's datasets take half a second

    print_query(workspace, sql, console, limit_s=limit_s)
