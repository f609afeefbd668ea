"""The policy of a run that nobody told one: that which its detector was calibrated with."""

from __future__ import annotations

import json
from typing import TypeVar

from flows.policy.options import PolicyOptions
from flows.running.parameters import recorded
from flows.server.deployed import deployment_of_run
from storage.tables.manifests import Manifests
from storage.tables.runs import maker
from storage.workspace import Workspace

Options = TypeVar("Options", bound=PolicyOptions)


def as_calibrated(workspace: Workspace, detector: str, options: Options) -> Options:
    """Options of a deployment's run, with the policy of ``fit-detector`` where nobody told one.

    What a run starts by itself then asks of a detector what its songs could promise, rather than
    what the songs of another set might. What a person runs is left as it is.

    Args:
        workspace: of the detector.
        detector: its id.
        options: as the run and its deployment tell them.
    """
    if deployment_of_run() is None or (fitted := maker(Manifests(workspace), detector)) is None:
        return options
    policy = recorded(PolicyOptions, json.loads(fitted.parameters))
    return type(options).model_validate({**policy, **options.model_dump(exclude_unset=True)})
