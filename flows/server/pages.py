"""Pages of the Prefect UI: their addresses, and what is written on them afterwards.

Addresses are relative to the pages of runs and artifacts, which all lie as deep: so they lead to
the server that shows the page, whatever it is called, and to the interface (V1, V2) that one is in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client

from flows.server.best_effort import best_effort
from flows.server.process import REPORTS_PREFIX, REPORTS_VARIABLE, desk_path
from storage.tables.runs import PastRun
from storage.workspace import Workspace

CAME_OF_IT = "- **Came of it:**"
"""How the line of a report begins on which later runs leave their links."""

OVERVIEW = "workspace-overview"
"""The key of the workspace's page among the artifacts."""

MAX_LINKS = 20
UI = "../.."


def report_key(stage: str) -> str:
    """The key of a stage's reports among the artifacts."""
    return f"{stage}-report"


def run_path(flow_run_id: str) -> str:
    """Where the UI shows a flow run."""
    return f"{UI}/runs/flow-run/{flow_run_id}"


def artifact_path(artifact_id: UUID) -> str:
    """Where the UI shows an artifact."""
    return f"{UI}/artifacts/artifact/{artifact_id}"


def key_path(key: str) -> str:
    """Where the UI shows what there is of an artifact's key, newest first."""
    return f"{UI}/artifacts/key/{key}"


def report_page(workspace: Workspace, folder: str) -> str:
    """Where the workspace's own server shows a report as a page; empty where no server does.

    Args:
        workspace: that of the report.
        folder: of the report in the workspace.
    """
    if not _is_served(workspace):
        return ""
    return f"{REPORTS_PREFIX}/{folder.removeprefix('reports/')}/index.html"


def desk_page(workspace: Workspace, corpus: str, question: Mapping[str, object]) -> str:
    """Where the workspace's own server asks what is heard in segments; empty where none does.

    Args:
        workspace: of the segments.
        corpus: whose they are.
        question: what names the audit.
    """
    return desk_path(corpus, question) if _is_served(workspace) else ""


def _is_served(workspace: Workspace) -> bool:
    served = os.environ.get(REPORTS_VARIABLE, "")
    return workspace.is_local and str(Path(workspace.location, "reports")) == served


def report_of(run: PastRun) -> UUID | None:
    """The report of a run, if the server has it still."""
    if not run.flow_run_id:
        return None
    filters = {"key": {"any_": [report_key(run.stage)]}, "flow_run_id": {"any_": [run.flow_run_id]}}
    found: list[dict[str, Any]] = []
    with best_effort("which report is wanted", retries=0), get_client(sync_client=True) as client:
        # the client's own method gives the server filters that it does not take
        answer = client.request("POST", "/artifacts/filter", json={"artifacts": filters})
        found = answer.json()
    return UUID(found[0]["id"]) if found else None


def leave_link(report: UUID, link: str) -> None:
    """Write on a report what came of what it reports."""
    with best_effort("what came of its work", retries=0), get_client(sync_client=True) as client:
        answer = client.request("GET", "/artifacts/{id}", path_params={"id": report})
        rewrite(client, report, with_link(answer.json()["data"], link))


def show_of_no_run(key: str, markdown: str, description: str) -> UUID:
    """Make an artifact that is no flow run's, which Prefect's own function no longer does."""
    made = {"key": key, "type": "markdown", "data": markdown, "description": description}
    with get_client(sync_client=True) as client:
        return UUID(client.request("POST", "/artifacts/", json=made).json()["id"])


def rewrite(client: SyncPrefectClient, artifact: UUID, markdown: str) -> None:
    """Put other markdown on a page.

    The client's own method tells of it in an event with all of the page, sounds included: the
    server would keep each for days, and refuses one of over 1.5 MB.
    """
    client.request(
        "PATCH", "/artifacts/{id}", json={"data": markdown}, path_params={"id": artifact}
    )


def with_link(markdown: str, link: str) -> str:
    """A report with one more link on its line of what came of it.

    >>> with_link("- **Came of it:** nothing yet", "[a](b)")
    '- **Came of it:** [a](b)'
    >>> with_link("- **Came of it:** [a](b)", "[c](d)")
    '- **Came of it:** [a](b) · [c](d)'
    """
    lines = markdown.split("\n")
    for number, line in enumerate(lines):
        if line.startswith(CAME_OF_IT):
            links = line.removeprefix(CAME_OF_IT).strip().split(" · ")
            known = [found for found in links if found.startswith("[")]
            lines[number] = f"{CAME_OF_IT} {' · '.join([*known, link][-MAX_LINKS:])}"
            break
    return "\n".join(lines)
