"""What ``silentmix up`` tells a Prefect server, and asks it."""

from __future__ import annotations

import importlib.metadata
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from packaging.version import Version
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType, Worker, WorkerStatus
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Crashed

from flows.catalogue import POOLS
from flows.server.process import POLL_S, STARTUP_TIMEOUT_S
from flows.service import automations, deployments
from flows.service.processes import OwnProcess
from flows.service.state import PACKAGES, installed_versions
from storage.errors import UserError

MOST_WORKERS = 200  # what the server lists at once
SEEN_AFTER = timedelta(minutes=3)
"""How long Prefect's scheduler may take to plan the runs of a schedule that was switched on."""

MOST_RUNS = 200  # what the server lists at once
NEVER_BEGAN = "Its worker was stopped before it began. Run it again."

WORKER_NAME = re.compile(r".*-silentmix-(?P<silentmix>.+)-prefect-(?P<prefect>.+)")


@contextmanager
def server(address: str, login: str = "") -> Iterator[SyncPrefectClient]:
    """A client of the server at an address, which Prefect uses too while the block runs.

    Args:
        address: of the server.
        login: of a server of our own; empty leaves what the settings say.
    """
    settings: dict[Any, str] = {PREFECT_API_URL: f"{address}/api"}
    if login:
        settings[PREFECT_API_AUTH_STRING] = login
    with (
        temporary_settings(settings),
        get_client(sync_client=True) as client,
    ):
        yield client


def require_version(client: SyncPrefectClient, address: str) -> str:
    """Refuse a server that is older than what is installed here; returns its version.

    Raises:
        UserError: says both versions.
    """
    theirs, ours = client.api_version(), importlib.metadata.version("prefect")
    if Version(theirs) < Version(ours):
        raise UserError(
            f"the Prefect server at {address} is version {theirs}, older than the {ours} installed "
            "here, which may ask it what it does not know; upgrade the server"
        )
    return str(theirs)


def register_all(client: SyncPrefectClient, workspace: str, notify_url: str) -> list[str]:
    """Make the pools, and register deployments and automations.

    Returns:
        What was not there before, or was another version's: ``kind name``.
    """
    made = [f"work pool {name}" for name in deployments.make_pools(client)]
    made += [f"deployment {name}" for name in deployments.register(client, workspace)]
    return made + [f"automation {name}" for name in automations.register(client, notify_url)]


def end_what_never_began(client: SyncPrefectClient) -> int:
    """Mark the runs that a worker had taken and not begun as crashed; returns how many.

    Nobody will begin them, and till they are over they hold their places in their pools.
    """
    pending = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=pending), limit=MOST_RUNS)
    for run in runs:
        state: State[None] = Crashed(message=NEVER_BEGAN)
        client.set_flow_run_state(run.id, state, force=True)
    return len(runs)


def own_pools(client: SyncPrefectClient) -> list[str]:
    """The pools that take workers of this machine; those of Kubernetes, say, have their own."""
    pools = (client.read_work_pool(name) for name in POOLS)
    return [pool.name for pool in pools if pool.type == deployments.PROCESS]


def worker_name() -> str:
    """The name of this machine's workers, with what they run: the UI shows it."""
    versions = "-".join(f"{name}-{version}" for name, version in installed_versions().items())
    return f"{socket.gethostname()}-{versions}"


def wait_for_workers(client: SyncPrefectClient, workers: Mapping[str, OwnProcess]) -> None:
    """Wait until this machine's workers are online.

    Args:
        client: of the server.
        workers: processes by the pools they work for.

    Raises:
        UserError: one ended, or takes too long; with the end of its log.
    """
    deadline = time.monotonic() + STARTUP_TIMEOUT_S
    for pool, process in workers.items():
        while worker_name() not in {worker.name for worker in online(client, pool)}:
            if process.find() is None or time.monotonic() > deadline:
                raise UserError(
                    f"the worker of pool {pool} did not start; its log {process.log}: "
                    f"{process.log_tail()}"
                )
            time.sleep(POLL_S)


def online(client: SyncPrefectClient, pool: str) -> list[Worker]:
    """The workers of a pool that tell that they are alive."""
    workers = client.read_workers_for_work_pool(pool, offset=0, limit=MOST_WORKERS)
    return [worker for worker in workers if worker.status == WorkerStatus.ONLINE]


def foreign_workers(client: SyncPrefectClient) -> list[str]:
    """A line for each worker online that runs another version than what is installed here."""
    problems = []
    for pool in POOLS:
        for worker in online(client, pool):
            found = WORKER_NAME.fullmatch(worker.name)
            if found is not None and found.groupdict() != installed_versions():
                theirs = ", ".join(f"{name} {found[name]}" for name in PACKAGES)
                problems.append(
                    f"the worker {worker.name} of pool {pool} runs {theirs}; stop it where it "
                    "runs, and start it with what is installed here"
                )
    return problems


def planned_runs(client: SyncPrefectClient) -> dict[str, int]:
    """How many runs are planned for each deployment with a schedule that is switched on.

    One that was switched on just now is left out: the scheduler has not seen it yet.
    """
    seen = datetime.now(UTC) - SEEN_AFTER
    planned: dict[str, int] = {}
    for deployment in client.read_deployments():
        on = any(
            schedule.active and schedule.updated and schedule.updated < seen
            for schedule in deployment.schedules
        )
        if on and not deployment.paused and deployment.updated and deployment.updated < seen:
            waiting = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
            runs = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=waiting),
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
                limit=1,
            )
            planned[deployment.name] = len(runs)
    return planned
