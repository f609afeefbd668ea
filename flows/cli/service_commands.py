"""The commands that start, stop and examine the service; they work where the stages do not.

Nothing here imports Prefect or torch, so that ``doctor`` can say what is wrong with them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import httpx
from cyclopts import Parameter

from flows.server.process import REPORTS_PREFIX, REPORTS_VARIABLE
from flows.service import lifecycle
from flows.service.doctor import examine
from storage.errors import UserError

EXIT_WRONG = 1
WorkspaceOption = Annotated[str, Parameter(help="Folder or URL that holds all results.")]


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong with a server is told in a line, with where to look."""
    try:
        yield
    except httpx.HTTPError as error:
        raise UserError(f"the Prefect server fails: {error}; see `silentmix doctor`") from error


def up(
    *,
    workspace: WorkspaceOption = "workspace",
    port: Annotated[
        int | None, Parameter(help="Port of the server on this machine. [default: 4200]")
    ] = None,
    host: Annotated[
        str | None,
        Parameter(
            help="Address or name of this machine that the server listens on; 0.0.0.0 lets other "
            "machines in. [default: 127.0.0.1]"
        ),
    ] = None,
    notify_webhook: Annotated[
        str,
        Parameter(
            env_var=lifecycle.NOTIFY_VARIABLE,
            help="URL that is sent a message when a run fails: of Slack, Mattermost, Teams, ….",
        ),
    ] = "",
) -> None:
    """Start a Prefect server, workers, deployments and automations; print the UI's address.

    What is there already is left as it is. With ``PREFECT_API_URL`` set, everything but the server
    itself is set up on the server it names. A server of your own asks for its login, once a
    browser; commands know it.
    """
    with _told():
        address = lifecycle.up(workspace, port, notify_webhook, print, host=host)
    if login := lifecycle.how_to_log_in(workspace, show=sys.stdout.isatty()):
        print(login)
    if REPORTS_VARIABLE in os.environ:
        print(f"reports:    {address}{REPORTS_PREFIX}/")
    if elsewhere := lifecycle.address_elsewhere(workspace):
        print(f"elsewhere:  {elsewhere}")
    print(f"Prefect UI: {address}")


def down(*, workspace: WorkspaceOption = "workspace") -> None:
    """Stop what ``silentmix up`` started. Runs that were under way continue when run again."""
    with _told():
        lifecycle.down(workspace, print)


def doctor(*, workspace: WorkspaceOption = "workspace") -> int:
    """Say what is wrong with the installation and the service, and how to mend it."""
    with _told():
        findings = examine(workspace)
    width = max(map(len, findings))
    for name, finding in findings.items():
        print(f"{'wrong' if finding.mend else 'ok':<7}{name:<{width}}  {finding.said}")
        if finding.mend:
            print(f"{'mend':>{width + 7}}: {finding.mend}")
    return EXIT_WRONG if any(finding.mend for finding in findings.values()) else 0
