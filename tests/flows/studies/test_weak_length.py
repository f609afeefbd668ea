from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from demucs_core.training.validation import Validation
from flows.cli.commands import app_with
from flows.studies.weak_length import arms, study_weak_length
from flows.studies.weak_length_options import WeakLengthParameters
from flows.studies.weak_length_report import compare, write_weak_length_study
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

MUSIC = MusicFormat()
SAMPLE_RATE = MUSIC.sample_rate

MAX_PLOT_BYTES = 100_000


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> WeakLengthParameters:
    folder = tmp_path_factory.mktemp("study")
    return WeakLengthParameters(
        workspace=str(folder / "workspace"),
        output=str(folder / "studies"),
        train_songs=2,
        valid_songs=2,
        unlabelled_songs=3,
        song_s=12.0,
        detector_steps=40,
        target_precision=0.3,
        min_duration_s=1.0,
        crop_s=3.0,
        steps=4,
        channels=4,
        depth=3,
        seeds=1,
        workers=1,
    )


@pytest.fixture(scope="module")
def figures(parameters: WeakLengthParameters) -> dict[str, Any]:
    files = write_weak_length_study(parameters, study_weak_length(parameters))
    assert [path.name for path in files] == [
        "weak-length.md",
        "weak-length.json",
        "weak-length-minutes.png",
        "weak-length-sdr.png",
    ]
    assert all(path.stat().st_size < MAX_PLOT_BYTES for path in files[2:])
    found: dict[str, Any] = json.loads(files[1].read_text())
    return found


def test_masks_use_at_least_what_whole_crops_use(figures: dict[str, Any]) -> None:
    assert [(row["silences"], row["crop, s"]) for row in figures["minutes"]] == [
        (silences, crop_s)
        for silences in ("extracted", "true silences")
        for crop_s in (2.0, 5.0, 10.0)
    ]
    for row in figures["minutes"]:
        assert row["whole crops, min"] <= row["long enough, min"] <= row["masked, min"]
    assert figures["minutes"][0]["masked, min"] > 0
    assert 0 < figures["minutes"][3]["masked, min"] <= figures["all_true_silence_min"]


def test_every_way_to_train_was_validated_after_the_same_steps(
    parameters: WeakLengthParameters, figures: dict[str, Any]
) -> None:
    assert [row["trained on"] for row in figures["sdr"]] == [arm.name for arm in arms(3.0)]
    assert figures["sdr"][0]["remixes"] == 0
    assert all(row["remixes"] > 0 for row in figures["sdr"][1:])
    last = {run["arm"]: Validation.from_json(run["history"][-1]) for run in figures["trainings"]}
    assert {entry.step for entry in last.values()} == {4}
    for row in figures["sdr"]:
        assert row["mean"] == pytest.approx(last[row["trained on"]].mean_sdr_db)
    models = {path.split("/")[1] for path in Workspace(parameters.workspace).find("models")}
    assert len(models) == len(arms(3.0)), "one for each, as each has another fingerprint"
    labelled_only, *weak = (row["mean"] for row in figures["sdr"])
    assert labelled_only not in weak


def test_the_paper_trains_on_whole_crops_and_one_source(
    parameters: WeakLengthParameters, figures: dict[str, Any]
) -> None:
    manifests = Manifests(Workspace(parameters.workspace))
    remixes = {row["trained on"]: row["remixes"] for row in figures["sdr"]}
    assert remixes["the paper's whole crops"] < remixes["masked"] == remixes["masked, with groups"]
    [whole_crops] = [
        rows
        for partition in manifests.partitions("remixes")
        if len(rows := list(manifests.rows(partition))) < remixes["masked"]
    ]
    for row in whole_crops:
        assert row["stop_sample"] - row["start_sample"] >= parameters.crop_s * SAMPLE_RATE
        assert len(row["silent_sources"]) == len(row["added"]) == 1


def test_a_second_run_finds_everything_and_writes_the_same(
    parameters: WeakLengthParameters, figures: dict[str, Any]
) -> None:
    workspace = Workspace(parameters.workspace)
    models = {path: _written(workspace, path) for path in workspace.find("models")}
    write_weak_length_study(parameters, study_weak_length(parameters))
    assert {path: _written(workspace, path) for path in workspace.find("models")} == models
    assert json.loads(Path(parameters.output, "weak-length.json").read_text()) == figures


def _written(workspace: Workspace, path: str) -> int:
    return (Path(workspace.location) / path).stat().st_mtime_ns


def test_the_page_names_the_command_that_makes_it(
    parameters: WeakLengthParameters, figures: dict[str, Any]
) -> None:
    page = Path(parameters.output, "weak-length.md").read_text()
    assert figures["command"] in page
    assert str(parameters.workspace) not in page
    tokens = shlex.split(figures["command"])[1:]
    _, bound, _ = app_with(["study"]).parse_args(tokens, exit_on_error=False)
    assert bound.arguments["parameters"].content() == parameters.content()


def test_a_difference_within_the_spread_of_the_seeds_is_called_so() -> None:
    assert compare([3.0, 3.2], [2.0, 2.5]) == "+0.85, beyond the spread of 0.50"
    assert compare([2.0, 2.2], [2.0, 2.5]) == "-0.15, within the spread of 0.50"
    assert compare([3.0], [2.0]) == "+1.00, one seed: no spread known"
    assert compare([], [2.0]) == "no segment to train on"


def test_a_bucket_is_refused() -> None:
    with pytest.raises(UserError, match="local folder"):
        study_weak_length(WeakLengthParameters(workspace="memory://study"))
