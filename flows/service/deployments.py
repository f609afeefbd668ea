"""The deployments of ``prefect.yaml`` and their work pools, on whichever Prefect server there is.

Registering again changes nothing, and takes nothing back that somebody chose in the UI: a schedule
that was switched on stays on, parameters that were set stay set, a pool keeps its type and limit.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker

from flows.catalogue import CATALOGUE, POOLS, load
from flows.server.deployed import FORM
from storage.errors import UserError
from storage.fingerprint import short_hash

DEFINITIONS = Path(__file__).parents[2] / "prefect.yaml"
PROCESS = "process"
MOST_LISTED = 200  # deployments, at once


def make_pools(client: SyncPrefectClient) -> list[str]:
    """Make the work pools that are missing; returns their names."""
    made: list[str] = []
    for name, (limit, description) in POOLS.items():
        pool = WorkPoolCreate(
            name=name,
            type=PROCESS,
            description=description,
            base_job_template=ProcessWorker.get_default_base_job_template(),
            concurrency_limit=limit,
        )
        try:
            client.create_work_pool(pool)
        except ObjectAlreadyExists:
            continue
        made.append(name)
    return made


def register(client: SyncPrefectClient, workspace: str) -> list[str]:
    """Register the deployments that are missing, or that another version registered.

    Args:
        client: of the server.
        workspace: URL or absolute path of the workspace that runs work in unless told otherwise.

    Returns:
        ``flow/deployment`` of those that were registered.
    """
    changed = []
    for definition in definitions():
        found = load_flow(definition)
        schema = found.parameters.model_dump_for_openapi()
        version = _version(definition, schema, workspace)
        full_name = f"{found.name}/{definition['name']}"
        existing = find(client, full_name)
        if existing is not None and existing.version == version:
            continue
        client.create_deployment(
            flow_id=client.create_flow(found),
            name=definition["name"],
            version=version,
            description=definition["description"],
            tags=definition["tags"],
            entrypoint=definition["entrypoint"],
            work_pool_name=definition["work_pool"]["name"],
            parameters={FORM: _parameters(definition, schema, existing, workspace)},
            parameter_openapi_schema=schema,
            enforce_parameter_schema=True,
            **_chosen(existing),
            schedules=_schedules(definition, schema, existing),
        )
        changed.append(full_name)
    return changed + _mend_entrypoints(client)


def require_same_workspace(client: SyncPrefectClient, workspace: str) -> None:
    """Refuse to point deployments of somebody else's workspace at this one.

    Raises:
        UserError: the server's deployments are of another workspace; says of which.
    """
    for definition in definitions():
        existing = find(client, f"{load_flow(definition).name}/{definition['name']}")
        theirs = existing.parameters.get(FORM, {}).get("workspace") if existing else None
        if theirs not in (None, workspace):
            raise UserError(
                f"the deployments of this Prefect server are of the workspace {theirs}, and would "
                f"be of {workspace} from now on. Unset PREFECT_API_URL to have a server of its own "
                "(with --port, if 4200 is taken), or delete those deployments in the UI first"
            )


def _mend_entrypoints(client: SyncPrefectClient) -> list[str]:
    """Let deployments that people made themselves find flows which have moved since 0.1.0."""
    now = {before: entry.flow for entry in CATALOGUE for before in entry.formerly}
    mended = []
    for deployment in list(_all_deployments(client)):
        if deployment.entrypoint in now:
            update = DeploymentUpdate(entrypoint=now[deployment.entrypoint])
            client.update_deployment(deployment.id, update)
            mended.append(f"{client.read_flow(deployment.flow_id).name}/{deployment.name}")
    return mended


def _all_deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    offset = 0
    while page := client.read_deployments(limit=MOST_LISTED, offset=offset):
        yield from page
        offset += len(page)


def definitions() -> list[dict[str, Any]]:
    """What ``prefect.yaml`` says of each deployment.

    Raises:
        UserError: the file is missing.
    """
    try:
        text = DEFINITIONS.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{DEFINITIONS}: can't be read ({error.strerror}), and it says what to deploy; install "
            "silentmix from a clone of its repository, with `pip install --editable`"
        ) from error
    found: list[dict[str, Any]] = yaml.safe_load(text)["deployments"]
    return found


def load_flow(definition: dict[str, Any]) -> Flow[..., Any]:
    """The flow that a deployment runs."""
    found = load(definition["entrypoint"])
    assert isinstance(found, Flow)
    return found


def find(client: SyncPrefectClient, full_name: str) -> DeploymentResponse | None:
    """A deployment by its ``flow/deployment``, or None."""
    try:
        return client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        return None


def _version(definition: dict[str, Any], schema: dict[str, Any], workspace: str) -> str:
    text = json.dumps([definition, schema, workspace], sort_keys=True)
    return f"{importlib.metadata.version('silentmix')}+{short_hash(text, 8)}"


def _parameters(
    definition: dict[str, Any],
    schema: dict[str, Any],
    existing: DeploymentResponse | None,
    workspace: str,
) -> dict[str, Any]:
    chosen = existing.parameters.get(FORM, {}) if existing is not None else {}
    kept = _known(chosen, schema)
    return {**definition["parameters"][FORM], **kept, "workspace": workspace}


def _known(fields: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Those fields of the form that the flow still has."""
    reference = schema["properties"][FORM]["$ref"].rpartition("/")[2]
    known = schema["definitions"][reference]["properties"]
    return {name: value for name, value in fields.items() if name in known}


def _chosen(existing: DeploymentResponse | None) -> dict[str, Any]:
    """How a deployment's runs are started and how many at once, where somebody chose that."""
    if existing is None:
        return {}
    limit = existing.global_concurrency_limit
    return {
        "job_variables": existing.job_variables,
        "concurrency_limit": limit.limit if limit is not None else None,
        "concurrency_options": existing.concurrency_options,
    }


def _schedules(
    definition: dict[str, Any], schema: dict[str, Any], existing: DeploymentResponse | None
) -> list[DeploymentScheduleCreate]:
    if existing is not None:
        return [
            DeploymentScheduleCreate(
                schedule=each.schedule,
                active=each.active,
                parameters={
                    name: _known(fields, schema) if name == FORM else fields
                    for name, fields in each.parameters.items()
                },
                max_scheduled_runs=each.max_scheduled_runs,
                slug=each.slug,
            )
            for each in existing.schedules
        ]
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=each["cron"], timezone=each["timezone"]),
            active=each["active"],
            slug=each["slug"],
        )
        for each in definition.get("schedules", [])
    ]
