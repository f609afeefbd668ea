"""A preset that is chosen in a run form, which tells every field, is what is trained."""

from __future__ import annotations

import pytest

from flows.train import chosen
from flows.train.options import TrainParameters
from flows.train.preset import load_preset

DEFAULTS = TrainParameters(workspace="w").model_dump(mode="json")
PRESET = load_preset("demo")


def test_a_preset_holds_in_a_form_for_what_nobody_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = TrainParameters.model_validate({**DEFAULTS, "preset": "demo", "batch_size": 3})
    assert told.steps == DEFAULTS["steps"] != PRESET["steps"], "a form tells the default"
    assert chosen.as_chosen(told) is told, "without a deployment, that is what somebody told"

    monkeypatch.setattr(chosen, "deployment_of_run", object)
    assert chosen.as_chosen(told) == TrainParameters(workspace="w", preset="demo", batch_size=3)
    without = TrainParameters.model_validate(DEFAULTS)
    assert chosen.as_chosen(without) is without
    # told by a configuration, a default is a choice
    some = TrainParameters(preset="demo", steps=DEFAULTS["steps"])
    assert chosen.as_chosen(some).steps == DEFAULTS["steps"]
