"""A training as its folder knows it."""

from __future__ import annotations

from pathlib import Path

from flows.inputs import registry
from flows.train.saved import SavedTraining
from storage.workspace import Workspace
from tests.demucs_core.training.tiny import trainer

DESCRIPTION = {"parameters": {"steps": 6}, "made_from": {}}


def test_a_run_that_another_of_the_same_training_overtakes_saves_on(tmp_path: Path) -> None:
    """Two machines share a workspace, and one of them sleeps for a while."""
    workspace = Workspace(str(tmp_path), create=True)
    slow, quick = (SavedTraining(workspace=workspace, name="m") for _ in range(2))
    run = trainer()
    slow.begin(run, DESCRIPTION, anew=False)
    quick.end(DESCRIPTION)
    assert registry.progress_of(workspace, "m") is None
    run.run(stop=lambda: run.step == 3)
    slow.save(run)
    assert slow.steps_saved == 3
    assert registry.progress_of(workspace, "m") == slow.progress
    assert slow.progress["description"] == DESCRIPTION
    slow.end(DESCRIPTION)
    slow.end(DESCRIPTION)  # what is gone is gone
    assert not workspace.find("models/m")
