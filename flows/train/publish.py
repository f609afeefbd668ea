"""A model of the best weights so far of a training that is not over."""

from __future__ import annotations

from typing import Any

from flows.inputs import registry
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import HEARD
from storage.weights import load_tensors
from storage.workspace import Workspace


def publish(workspace: Workspace, name: str) -> str:
    """Make a model of the best weights so far of a training that is not over.

    The model has an id of its own, and is used like any other. The training goes on beside it.

    Returns:
        The model's id.

    Raises:
        UserError: there is no such training, or it has no validation yet.
    """
    trainings = dict(registry.unfinished(workspace))
    if name not in trainings:
        known = ", ".join(trainings) or "none"
        raise UserError(
            f"{workspace.location}: no training {name!r} is under way; there are {known}"
        )
    path = f"models/{name}/{registry.CHECKPOINT}"
    state: dict[str, Any] = {"history": []}
    if workspace.exists(path):
        tensors, metadata = load_tensors(workspace, path)
        state = registry.trainer_state(metadata)
    best = next((entry for entry in reversed(state["history"]) if entry["best"]), None)
    if best is None:
        raise UserError(
            f"training {name} has no checkpoint with a validation yet; wait for one "
            "(validate_every, checkpoint_every)"
        )
    model = f"{name}-{best['step']}"
    description = trainings[name]["description"]
    counts = {"steps": state["step"], "best_step": best["step"], "best_loss": best["loss"]}
    manifests = Manifests(workspace)
    for partition in manifests.partitions(HEARD.name):
        if partition.fingerprint == name:
            target = Partition(HEARD.name, partition.corpus, model)
            manifests.write(target, [model], list(manifests.rows(partition)))
    weights = {
        key.removeprefix("best."): value
        for key, value in tensors.items()
        if key.startswith("best.")
    }
    described = {**description, "history": state["history"], "counts": counts, "of": name}
    registry.store_weights(workspace, "models", model, weights, described)
    return model
