"""Partially labelled songs and libraries of single stems, from ingest to detector and model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.fit_detector.flow import fit_detector
from flows.fit_detector.options import FitDetectorParameters
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import registry
from flows.running.stage import StageResult
from flows.train.flow import train
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import play, write

FIT = {"steps": 3, "batch_size": 2, "crop_s": 2.0, "target_precision": 0.5, "min_songs": 2,
       "min_duration_s": 1.0, "allow_insufficient_evidence": True}  # fmt: skip
TRAIN = {"channels": 4, "depth": 3, "steps": 4, "batch_size": 2, "crop_s": 1.0, "weak_share": 0.0,
         "validate_every": 2, "validation_crops": 1}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Songs known in full and in part, and a library."""
    root = tmp_path_factory.mktemp("partly")
    for seed, song in enumerate(("train/A", "train/B", "valid/C", "valid/D", "valid/E")):
        found = play(seed)
        if song in ("train/B", "valid/D"):
            found["no_vocals"] = found.pop("drums") + found.pop("bass") + found.pop("other")
        for name, audio in found.items():
            write(root / "set" / song / f"{name}.wav", audio)
    for seed in (20, 21):
        for name in ("vocals", "drums"):
            write(root / "library" / name / f"{seed}.wav", play(seed)[name])
    place = str(root / "workspace")
    take(place, root / "set", "labelled")
    take(place, root / "library", "stems")
    return Workspace(place)


def take(place: str, source: Path, corpus: str) -> StageResult:
    return ingest(
        IngestParameters(workspace=place, source=str(source), corpus=corpus, labelled=True)
    )


def fit(workspace: Workspace, **fields: Any) -> StageResult:
    values = {"workspace": workspace.location, "workers": 1, **FIT, **fields}
    return fit_detector(FitDetectorParameters.model_validate(values))


def learn(workspace: Workspace, **fields: Any) -> StageResult:
    values = {"workspace": workspace.location, **TRAIN, **fields}
    return train(TrainParameters.model_validate(values))


def heard(workspace: Workspace, result: StageResult) -> set[str]:
    manifests = Manifests(workspace)
    partition = Partition("heard", result.corpus, result.fingerprint)
    return {row["track_id"] for row in manifests.rows(partition)}


def stems_of(workspace: Workspace, corpus: str) -> set[str]:
    manifests = Manifests(workspace)
    return {row["track_id"] for row in manifests.rows(manifests.latest("stems", corpus))}


def test_a_detector_is_calibrated_on_what_is_known_by_itself(workspace: Workspace) -> None:
    result = fit(workspace, libraries=["stems"])
    assert result.counts["songs"] == 6
    assert result.counts["held_out_songs"] == 3
    rows = Manifests(workspace).rows(Partition("scores", "labelled", _scores(workspace, result)))
    assert len(list(rows)) == 3
    [path] = workspace.find(f"detectors/{result.fingerprint}/calibrations")
    frames = {
        found["source"]: sum(found["reliability"]["num_frames"])
        for found in workspace.read_json(path)["sources"]
    }
    assert frames["drums"] == frames["bass"] < 0.8 * frames["vocals"]
    assert heard(workspace, result) >= stems_of(workspace, "stems")
    assert fit(workspace).fingerprint != result.fingerprint
    with pytest.raises(UserError, match="2 songs that know drums by itself are held out"):
        fit(workspace, allow_insufficient_evidence=False, min_songs=3)


def _scores(workspace: Workspace, result: StageResult) -> str:
    held_out = registry.describe(workspace, "detectors", result.fingerprint)["held_out"]
    return str(held_out["scores"])


def test_a_model_learns_from_sums_and_single_stems(workspace: Workspace) -> None:
    result = learn(workspace, libraries=["stems"])
    assert result.counts["songs"] == 6
    description = registry.describe(workspace, "models", result.fingerprint)
    assert {name.split("/")[1] for name in description["made_from"]} == {"labelled", "stems"}
    assert all(np.isfinite(entry["loss"]) for entry in description["history"])
    assert len(description["history"][-1]["sdr_db"]) == 4
    assert heard(workspace, result) == stems_of(workspace, "labelled") | stems_of(
        workspace, "stems"
    )
    alone = learn(workspace)
    assert alone.fingerprint != result.fingerprint
    assert alone.counts["songs"] == 2
    assert learn(workspace, libraries=["labelled"]).fingerprint == alone.fingerprint


def test_single_stems_of_some_sources_are_not_enough(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="single stems alone, and none of bass, other"):
        learn(workspace, labelled="stems")
