"""A stage that would calibrate, validate or test on what it heard refuses, however it got there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.evaluate.flow import evaluate
from flows.evaluate.options import EvaluateParameters
from flows.fit_detector.flow import fit_detector
from flows.fit_detector.options import FitDetectorParameters
from flows.inputs import registry
from flows.provenance.lineage import lineage
from flows.train.flow import train
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.weights import load_tensors
from storage.workspace import Workspace
from tests.flows.conftest import SETTINGS, Finished


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Workspace:
    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    return Workspace(str(tmp_path / "workspace"))


def leak(workspace: Workspace, split: str, source: str, content_hash: str) -> None:
    """A song of a split that has one stem of something else; nobody retired either."""
    manifests = Manifests(workspace)
    stems = manifests.latest("stems", "labelled")
    rows = [row for row in manifests.rows(stems) if row["split"] == split]
    song = [row for row in rows if row["track_id"] == rows[0]["track_id"]]
    for row in song:
        row.update(track_id="leak", song="Leak")
        if row["source"] == source:
            row["content_hash"] = content_hash
    activity = Partition("activity", "labelled", stems.fingerprint)
    copied = [
        {**row, "track_id": "leak"}
        for row in manifests.rows(activity)
        if row["track_id"] == rows[0]["track_id"] and row["split"] == split
    ]
    manifests.write(activity, ["leak"], copied)
    manifests.write(stems, ["leak"], song)


def train_song(workspace: Workspace) -> dict[str, str]:
    manifests = Manifests(workspace)
    stems = manifests.latest("stems", "labelled")
    return next(
        row for row in manifests.rows(stems) if row["split"] == "train" and row["source"] == "bass"
    )


def remixed_track(workspace: Workspace) -> str:
    manifests = Manifests(workspace)
    return str(next(manifests.rows(manifests.latest("remixes", "music")))["track_id"])


def parameters(workspace: Workspace, stage: str) -> dict[str, object]:
    policy = SETTINGS["extract"] if stage == "fit_detector" else {}
    return {**SETTINGS[stage], **policy, "workspace": workspace.location, "workers": 1}


def test_nothing_is_refused_where_all_is_apart(copy: Workspace) -> None:
    model = registry.names(copy, "models")[0]
    values = {"workspace": copy.location, "models": [model], "dry_run": True}
    evaluate.fn(EvaluateParameters.model_validate(values))
    assert lineage(copy, train_song(copy)["song"]).retired == []


def test_no_detector_is_calibrated_on_what_it_hears(copy: Workspace) -> None:
    song = train_song(copy)
    leak(copy, "valid", "vocals", song["content_hash"])
    told = (
        rf"the valid song Leak \(vocals\) .* audio of train song {song['song']} \(bass\) of "
        "labelled, which is heard; ingest the labelled set again: tracks and single stems"
    )
    with pytest.raises(UserError, match=told):
        fit_detector(FitDetectorParameters.model_validate(parameters(copy, "fit_detector")))


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("heard", ["song", "track"])
def test_no_model_hears_what_is_held_out(copy: Workspace, split: str, heard: str) -> None:
    if heard == "song":
        leak(copy, split, "other", train_song(copy)["content_hash"])
    else:
        leak(copy, split, "mixture", remixed_track(copy) + "0" * 44)
    with pytest.raises(UserError, match=rf"the {split} song Leak .* has the audio of"):
        train(TrainParameters.model_validate(parameters(copy, "train")))


@pytest.mark.parametrize("heard", ["song", "track"])
def test_no_model_is_tested_on_what_it_heard(copy: Workspace, heard: str) -> None:
    models = registry.names(copy, "models")
    weak = {name: registry.describe(copy, "models", name)["training"]["weak_share"]
            for name in models}  # fmt: skip
    alone, mixed = sorted(models, key=lambda name: weak[name])
    if heard == "song":
        leak(copy, "test", "other", train_song(copy)["content_hash"])
    else:
        leak(copy, "test", "mixture", remixed_track(copy) + "0" * 44)
    values = {"workspace": copy.location, "dry_run": True}
    named = EvaluateParameters.model_validate({**values, "models": [mixed]})
    with pytest.raises(UserError, match=rf"testing model {mixed} .* test song Leak"):
        evaluate.fn(named)
    everything = EvaluateParameters.model_validate(values)
    if heard == "song":
        with pytest.raises(UserError, match="test song Leak"):
            evaluate.fn(everything)
    else:  # what heard no remix is left
        assert [result.plan.reads[-1] for result in evaluate.fn(everything).results
                if result.plan] == [f"model {alone}"]  # fmt: skip


def test_a_model_has_heard_what_the_one_it_began_with_has(copy: Workspace) -> None:
    weak = {
        name: registry.describe(copy, "models", name)["training"]["weak_share"]
        for name in registry.names(copy, "models")
    }
    mixed = max(weak, key=lambda name: weak[name])
    values = {**parameters(copy, "train"), "weak_share": 0.0, "steps": 1, "init_from": mixed}
    plain = TrainParameters.model_validate({**values, "init_from": ""})
    tuned = train(TrainParameters.model_validate({**values, "freeze": ["encoder.0.*"]}))
    assert tuned.fingerprint != train(plain).fingerprint
    description = registry.describe(copy, "models", tuned.fingerprint)
    assert description["init_from"]["model"] == mixed
    assert description["init_from"]["left"] == []
    first, second = (
        load_tensors(copy, f"models/{name}/{registry.WEIGHTS}")[0]
        for name in (mixed, tuned.fingerprint)
    )
    moved = {name for name in first if (first[name] != second[name]).any()}
    assert moved
    assert not any(name.startswith("encoder.0.") for name in moved)
    leak(copy, "test", "mixture", remixed_track(copy) + "0" * 44)
    asked = {"workspace": copy.location, "dry_run": True, "models": [tuned.fingerprint]}
    with pytest.raises(UserError, match=rf"testing model {tuned.fingerprint} .* test song Leak"):
        evaluate.fn(EvaluateParameters.model_validate(asked))
