"""Trainings in a test: begun, interrupted, looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.logging import disable_run_logger

from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import registry
from flows.running.stage import StageResult
from flows.train import loop
from flows.train.flow import train
from flows.train.options import TrainParameters
from storage.tables.manifests import Manifests, Partition
from storage.weights import load_tensors
from storage.workspace import Workspace

TRAIN = {"channels": 4, "depth": 2, "steps": 4, "batch_size": 2, "crop_s": 0.5, "weak_share": 0.0,
         "validate_every": 2, "validation_crops": 1, "checkpoint_every": 1}  # fmt: skip


def take(place: Path, source: Path) -> None:
    ingest(
        IngestParameters(workspace=str(place), source=str(source), corpus="labelled", labelled=True)
    )


def learn(workspace: Workspace, **fields: Any) -> StageResult:
    values = {"workspace": workspace.location, **TRAIN, **fields}
    with disable_run_logger():  # a flow run would cost more than the training
        return train.fn(TrainParameters.model_validate(values))


def weights(workspace: Workspace, name: str) -> dict[str, np.ndarray]:
    return load_tensors(workspace, f"models/{name}/{registry.WEIGHTS}")[0]


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    assert all(np.array_equal(value, other[name]) for name, value in one.items())


class Interrupted(Exception):  # noqa: N818
    """What a cancelled run raises."""


def interrupt(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, after: int, **fields: Any
) -> str:
    """Train, and be cancelled after so many steps; the training's id."""
    asked = iter(range(after))

    def cancelled(work: Callable[[Callable[[], bool]], None]) -> None:
        work(lambda: next(asked, after) == after)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(loop, "interruptible", cancelled)
        with pytest.raises(Interrupted):
            learn(workspace, **fields)
    [(name, _)] = registry.unfinished(workspace)
    return name


def steps(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    rows = Manifests(workspace).rows(Partition("steps", "labelled", name))
    return sorted(rows, key=lambda row: int(row["step"]))
