"""A model of the workspace makes a detector, which is calibrated and scores as all do."""

from __future__ import annotations

from typing import Any

import pytest

from flows.fit_detector.flow import fit_detector
from flows.fit_detector.options import FitDetectorParameters
from flows.inputs import networks, registry
from flows.inputs.inventory import networks_of
from flows.score.flow import score
from flows.score.options import ScoreParameters
from storage.errors import UserError
from storage.tables.manifests import Partition
from tests.flows.conftest import Finished


def test_a_model_makes_a_detector(finished: Finished) -> None:
    workspace = finished.workspace
    place = {"workspace": workspace.location, "workers": 1}
    model = registry.names(workspace, "models")[0]
    told: dict[str, Any] = {**finished.parameters.extract.model_dump(), **place}
    wish = FitDetectorParameters(**told, architecture="separator", model=model)
    made = fit_detector(wish)
    assert fit_detector(wish.model_copy(update={"steps": 7})).already_done, "nothing is trained"
    detector = networks.load_detector(workspace, made.fingerprint, "cpu")
    [weights] = [
        value
        for name, value in detector.state_dict().items()
        if name == "separator.encoder.0.0.bias"
    ]
    own = networks.load_model(workspace, model, "cpu").state_dict()["encoder.0.0.bias"]
    assert weights.equal(own)
    scored = score(ScoreParameters(**place, detector=made.fingerprint))
    rows = finished.manifests.rows(Partition("scores", "music", scored.fingerprint))
    assert {row["detector_id"] for row in rows} == {made.fingerprint}
    told_of = {each.id: each.stands_on for each in networks_of(finished.manifests, "detectors")}
    assert told_of[made.fingerprint] == "3 songs of labelled"
    heard = [
        {row["track_id"] for row in finished.manifests.rows(Partition("heard", "labelled", name))}
        for name in (model, made.fingerprint)
    ]
    assert heard[0]
    assert heard[0] <= heard[1], "what its separator has heard"


def test_a_model_that_learnt_from_the_songs_held_out_makes_none(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.fit_detector import flow as module

    held_out = next(row for row in finished.rows("stems") if row["split"] == "valid")
    sounds = {held_out["content_hash"][:20]: "train song of another set"}
    monkeypatch.setattr(module, "learnt_from", lambda *_: sounds)
    place = {"workspace": finished.workspace.location, "workers": 1}
    told: dict[str, Any] = {**finished.parameters.extract.model_dump(), **place}
    model = registry.names(finished.workspace, "models")[0]
    with pytest.raises(UserError, match="is held out, and has the audio of train song"):
        fit_detector(
            FitDetectorParameters(**told, architecture="separator", model=model, force=True)
        )
