"""What a training's page shows of those before it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.inputs.given_names import give_name
from flows.train.earlier import MOST, earlier_trainings
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import RUNS, STEPS
from storage.workspace import Workspace

OWN = Partition(STEPS.name, "labelled", "own")


def step(number: int, loss: float, sdr_db: list[float]) -> dict[str, Any]:
    figures = dict.fromkeys(name for name, kind, _ in STEPS.fields if "list" not in str(kind))
    return {
        **dict.fromkeys(figures, 1), "step": number, "validation_loss": loss,
        "validation_sdr_db": sdr_db,
    }  # fmt: skip


def trained(manifests: Manifests, model: str, day: int, *, corpus: str = "labelled") -> str:
    """Record a training of three steps, two with a validation; returns its part of ``steps``."""
    row = {
        "run_id": model, "stage": "train", "flow_run_id": "", "outcome": "completed",
        "parameters": "{}", "versions": "{}", "git_revision": "", "message": "", "counts": "{}",
        "started_at": datetime(2026, 1, day, tzinfo=UTC), "duration_s": 1.0,
    }  # fmt: skip
    manifests.write(Partition(RUNS.name, corpus, model), [model], [row])
    rows = [step(3, 0.5, [1.0, 3.0]), step(1, 0.75, [math.nan, math.nan]), step(2, math.nan, [])]
    return manifests.write(Partition(STEPS.name, corpus, model), ["1-3"], rows)


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    return Manifests(Workspace(str(tmp_path / "w"), create=True))


def test_the_last_trainings_of_the_corpus_are_found_with_their_validations(
    manifests: Manifests,
) -> None:
    for day in range(1, MOST + 3):
        trained(manifests, f"model-{day}", day)
    trained(manifests, "elsewhere", 27, corpus="another")
    trained(manifests, "own", 28)
    (Path(manifests.workspace.location) / "models" / "model-3").mkdir(parents=True)
    give_name(manifests.workspace, "models", "model-3", "best-live")
    first, *others = earlier_trainings(manifests, OWN, "train")
    assert (first.name, first.steps, first.losses) == ("best-live", [1, 3], [0.75, 0.5])
    assert math.isnan(first.sdr_db[0])
    assert first.sdr_db[1] == 2.0
    assert [each.name for each in others] == [f"model-{day}" for day in range(4, MOST + 3)]


def test_a_damaged_record_is_left_out(manifests: Manifests) -> None:
    part = trained(manifests, "harmed", 1)
    trained(manifests, "whole", 2)
    manifests.workspace.put_bytes(part, b"no part")
    assert [each.name for each in earlier_trainings(manifests, OWN, "train")] == ["whole"]


def test_the_first_training_has_none_beside_it(manifests: Manifests) -> None:
    assert earlier_trainings(manifests, OWN, "train") == []
