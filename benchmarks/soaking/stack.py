"""The standing service that is soaked, as users have it: ``silentmix up``, deployments, runs."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Scheduled

from flows.catalogue import FOLLOWING
from flows.server.deployed import FORM
from flows.server.login import login_of
from flows.service import automations, lifecycle, registration
from flows.service.state import service_home

PAGE = 200  # what the server lists at once
POLL_S = 0.5
SETTLED_S = 15.0
"""What follows a run by an automation is there after a second or two."""


@dataclass(frozen=True)
class Stack:
    """A service on a workspace, and a client of its server."""

    workspace: Path
    address: str
    client: SyncPrefectClient

    def up(self) -> None:
        """What somebody does who finds the service down."""
        lifecycle.up(str(self.workspace), None, "", lambda _: None)

    def choose(self, fields: dict[str, dict[str, Any]]) -> None:
        """Give the runs that automations start some fields, as one would in the UI.

        Args:
            fields: by stage.
        """
        for stage, following in FOLLOWING.items():
            name = f"silentmix: {stage}, then {following}"
            [found] = self.client.read_automations_by_name(name)
            [action] = found.actions
            assert isinstance(action, RunDeployment)
            form = {**(action.parameters or {})[FORM], **fields[following]}
            changed = action.model_copy(update={"parameters": {FORM: form}})
            kept = found.model_dump(exclude={"id", "owner_resource"})
            self.client.update_automation(
                found.id, AutomationCore(**{**kept, "actions": [changed]})
            )

    def switch_automations_off(self) -> None:
        """So that a run that ends starts no other."""
        for stage, following in FOLLOWING.items():
            [found] = self.client.read_automations_by_name(f"silentmix: {stage}, then {following}")
            self.client.pause_automation(found.id)

    def schedule(self, stage: str, fields: dict[str, Any], in_s: float) -> None:
        """Schedule a run of a stage's deployment."""
        deployment = self.client.read_deployment_by_name(f"{stage}/{stage}")
        at = datetime.now(UTC) + timedelta(seconds=in_s)
        form = {**fields, "workspace": str(self.workspace)}
        self.client.create_flow_run_from_deployment(
            deployment.id, parameters={FORM: form}, state=Scheduled(scheduled_time=at)
        )

    def schedule_again(self, run: FlowRun) -> None:
        """Schedule a run with the parameters of another."""
        assert run.deployment_id is not None
        self.client.create_flow_run_from_deployment(run.deployment_id, parameters=run.parameters)

    def runs(self) -> list[FlowRun]:
        """Every run of a deployment that the server knows, the first ones first."""
        found: list[FlowRun] = []
        while True:
            page = self.client.read_flow_runs(
                sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=PAGE, offset=len(found)
            )
            found += page
            if len(page) < PAGE:
                return [run for run in found if run.deployment_id is not None]

    def wait_until_idle(self, timeout_s: float, settled_s: float = SETTLED_S) -> list[FlowRun]:
        """Wait until every run has ended and no other follows it; returns those that have not."""
        deadline = time.monotonic() + timeout_s
        idle_since: float | None = None
        while True:
            now, left = time.monotonic(), unfinished(self.runs())
            idle_since = None if left else (idle_since or now)
            if now > deadline or (idle_since is not None and now - idle_since > settled_s):
                return left
            time.sleep(POLL_S)


def unfinished(runs: Iterable[FlowRun]) -> list[FlowRun]:
    """The runs that have not ended."""
    return [run for run in runs if run.state is None or not run.state.is_final()]


def states(runs: Iterable[FlowRun]) -> dict[str, int]:
    """How many runs are in each state."""
    return dict(
        Counter((run.state.name or run.state.type) if run.state else "none" for run in runs)
    )


@contextmanager
def standing(workspace: Path, *, lost_after: timedelta) -> Iterator[Stack]:
    """A service on a workspace while the block runs.

    Args:
        workspace: where it works.
        lost_after: how long a run may be silent before it counts as lost; minutes for a user, whom
            they cost nothing.
    """
    automations.LOST_AFTER = automations.NOT_BEGUN_AFTER = lost_after
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    address = lifecycle.up(str(workspace), port, "", lambda _: None)
    try:
        login = login_of(service_home(str(workspace), os.environ))
        with registration.server(address, login) as client:
            yield Stack(workspace, address, client)
    finally:
        lifecycle.down(str(workspace), lambda _: None)
