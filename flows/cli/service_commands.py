"""The commands that start, stop and examine the service; they work where the stages do not.

Nothing here imports Prefect or torch, so that ``doctor`` can say what is wrong with them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import cyclopts
import httpx
from cyclopts import Parameter

from flows.cli.complaints import complaint
from flows.service import lifecycle
from flows.service.doctor import examine
from storage.errors import UserError

EXIT_WRONG = 1
WorkspaceOption = Annotated[str, Parameter(help="Folder or URL that holds all results.")]

app = cyclopts.App(name="silentmix", result_action="return_value")
service_group = cyclopts.Group("Schedules, automations and the Prefect UI", sort_key=4)


def run(arguments: Sequence[str]) -> int:
    """Parse and run one of the commands; returns the exit status.

    Raises:
        UserError: and WorkspaceError, for what a user can mend.
    """
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise UserError(complaint(error, arguments)) from error
    try:
        status: int | None = command(*bound.args, **bound.kwargs)
    except httpx.HTTPError as error:
        raise UserError(f"the Prefect server fails: {error}; see `silentmix doctor`") from error
    return status or 0


@app.command(group=service_group)
def up(
    *,
    workspace: WorkspaceOption = "workspace",
    port: Annotated[
        int | None, Parameter(help="Port of the server on this machine. [default: 4200]")
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
    address = lifecycle.up(workspace, port, notify_webhook, print)
    if login := lifecycle.how_to_log_in(workspace, show=sys.stdout.isatty()):
        print(login)
    print(f"Prefect UI: {address}")


@app.command(group=service_group)
def down(*, workspace: WorkspaceOption = "workspace") -> None:
    """Stop what ``silentmix up`` started. Runs that were under way continue when run again."""
    lifecycle.down(workspace, print)


@app.command(group=service_group)
def doctor(*, workspace: WorkspaceOption = "workspace") -> int:
    """Say what is wrong with the installation and the service, and how to mend it."""
    findings = examine(workspace)
    width = max(map(len, findings))
    for name, finding in findings.items():
        print(f"{'wrong' if finding.mend else 'ok':<7}{name:<{width}}  {finding.said}")
        if finding.mend:
            print(f"{'mend':>{width + 7}}: {finding.mend}")
    return EXIT_WRONG if any(finding.mend for finding in findings.values()) else 0
