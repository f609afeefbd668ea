"""What a deployment says of fields that its run was not told.

An automation tells a run which corpus to go on with. Prefect puts what it tells in the place of all
that the deployment has under that name; so the rest is asked for when the run begins, and what
somebody chose for a deployment in the UI holds for those runs too.
"""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from pydantic import BaseModel

FORM = "parameters"
"""The flows' one parameter, which holds the fields of the run form."""

Model = TypeVar("Model", bound=BaseModel)


def as_deployed(parameters: Model) -> Model:
    """The parameters of a run, with those of its deployment where it was told none.

    What runs without a deployment, or in the chain, is left as it is.
    """
    fields = type(parameters).model_fields
    known = _of_deployment()
    told = parameters.model_dump(exclude_unset=True)
    untold = {name: known[name] for name in known if name in fields and name not in told}
    return type(parameters).model_validate({**untold, **told}) if untold else parameters


def deployment_of_run() -> UUID | None:
    """The deployment whose run this is, unless it is a stage of a chain."""
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    return None if run is None or run.parent_task_run_id is not None else run.deployment_id


def _of_deployment() -> dict[str, Any]:
    deployment = deployment_of_run()
    if deployment is None:
        return {}
    with get_client(sync_client=True) as client:
        found: dict[str, Any] = client.read_deployment(deployment).parameters.get(FORM, {})
    return found
