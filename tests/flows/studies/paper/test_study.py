"""The whole study on songs of ten seconds, with trainings of a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from demucs_core.separators import open_unmix
from demucs_core.separators.extras import MissingExtraError
from flows.studies.paper.data import prepare
from flows.studies.paper.flow import study_paper
from flows.studies.paper.lock import only_study
from flows.studies.paper.parameters import PaperParameters
from flows.studies.paper.tables import asked_of
from flows.studies.paper.trainings import Trainings, in_order, left_to_do
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

TINY: dict[str, Any] = {
    "labelled_songs": 1,
    "valid_songs": 2,
    "unlabelled_songs": 2,
    "test_songs": 2,
    "song_s": 10.0,
    "sample_rate": 8_000,
    "detector_steps": 8,
    "target_precision": 0.05,
    "min_duration_s": 0.5,
    "demucs_channels": 2,
    "demucs_depth": 2,
    "wave_unet_channels": 2,
    "wave_unet_depth": 2,
    "open_unmix_hidden": 4,
    "open_unmix_window": 256,
    "crop_s": 7.0,
    "batch_size": 2,
    "steps": 2,
    "mixit_steps": 2,
    "validate_every": 1,
    "validation_crops": 1,
    "seeds": 1,
    "processes": 1,
}

FORMER = ["1", "2", "3", "4", "5", "6", "10"]
"""Arms that a study had when there were no others."""


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> PaperParameters:
    folder = tmp_path_factory.mktemp("paper")
    return PaperParameters(workspace=str(folder / "work"), output=str(folder / "studies"), **TINY)


@pytest.fixture(scope="module")
def page(parameters: PaperParameters) -> str:
    def missing(*_: str) -> None:
        raise MissingExtraError("open_unmix needs a package: pip install 'silentmix[openunmix]'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_unmix, "import_extra", missing)
        study_paper(parameters.model_copy(update={"arms": FORMER}))
        before = written(parameters)
        files = study_paper(parameters)
    assert before.items() <= written(parameters).items(), "arms that came later train themselves"
    assert {path.suffix for path in files} == {".md", ".json", ".png", ".parquet"}
    return files[0].read_text()


def written(parameters: PaperParameters) -> dict[Path, int]:
    """The study's models, and when each was made."""
    root = Path(parameters.workspace)
    return {
        path: path.stat().st_mtime_ns
        for place in (root, root.with_name(f"{root.name}-all-labelled"))
        for path in place.glob("models/*/config.json")
    }


@pytest.fixture(scope="module")
def figures(parameters: PaperParameters, page: str) -> dict[str, Any]:
    assert page
    found: dict[str, Any] = json.loads(
        Path(parameters.output, f"{parameters.study}.json").read_text()
    )
    return found


def test_every_arm_has_a_row_and_what_cant_be_made_says_why(
    figures: dict[str, Any], page: str
) -> None:
    rows = {row["arm"]: row for row in figures["sdr"]}
    assert list(rows) == sorted(rows, key=int)
    made = [arm for arm, row in rows.items() if row["seeds"] == "1 of 1"]
    assert made == ["1", *map(str, range(3, 11)), "12"]
    assert all(rows[arm]["all"] is not None for arm in made)
    assert rows["2"]["all"] is None
    assert "pip install 'silentmix[openunmix]'" in page
    assert rows["5"]["remixes"]
    assert rows["6"]["remixes"]
    assert rows["7"]["remixes"]
    assert rows["9"]["remixes"] == rows["5"]["remixes"]
    assert rows["3"]["remixes"] is rows["8"]["remixes"] is None
    assert len({rows[arm]["all"] for arm in ("3", "5", "7", "8", "9")}) == 5


def test_the_primary_comparison_is_the_one_that_was_named(figures: dict[str, Any]) -> None:
    rows = figures["comparisons"]
    assert [row["arms"] for row in rows if row["question"].endswith("(primary)")] == ["5 - 3"]
    sdr = {row["arm"]: row["all"] for row in figures["sdr"]}
    assert rows[0]["seeds"] == 1
    assert rows[0]["p"] is not None
    assert sdr["5"] != sdr["3"]
    assert rows[0]["difference"] != 0
    assert {row["arms"]: row["seeds"] for row in rows}["5 - 2"] == 0


@pytest.mark.usefixtures("page")
def test_each_figure_is_traceable_to_a_run(parameters: PaperParameters) -> None:
    def read(name: str) -> list[dict[str, Any]]:
        path = Path(parameters.output, f"{parameters.study}-{name}.parquet")
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows

    trainings = {row["arm"]: row for row in read("trainings")}
    scored = {row["arm"] for row in read("scores")}
    assert scored == {"1", *map(str, range(3, 11)), "12"}
    assert {row["arm"] for row in read("validations")} == {*scored, "mixit"}
    root = Path(parameters.workspace)
    known = {
        row["run_id"]
        for name in (root.name, f"{root.name}-all-labelled")
        for manifests in [Manifests(Workspace(str(root.with_name(name))))]
        for partition in manifests.partitions("runs")
        for row in manifests.rows(partition, ["run_id"])
    }
    for arm in scored:
        assert {trainings[arm]["train_run"], trainings[arm]["evaluate_run"]} <= known
        assert trainings[arm]["train_s"] > 0


def test_a_second_run_finds_all_and_other_parameters_are_another_study(
    parameters: PaperParameters, page: str
) -> None:
    models = Workspace(parameters.workspace).find("models")
    again = parameters.model_copy(update={"arms": ["3", "5"], "train": False})
    assert study_paper(again)[0].read_text() == page
    assert Workspace(parameters.workspace).find("models") == models
    assert parameters.study != parameters.model_copy(update={"steps": 3}).study
    assert PaperParameters().study == "paper" == PaperParameters(arms=["3"], processes=2).study
    assert PaperParameters(preset="gpu").study == "paper-gpu"


def test_a_study_goes_on_in_another_workspace_from_its_files(
    parameters: PaperParameters, figures: dict[str, Any], tmp_path: Path
) -> None:
    """Arm 5 is not trained again, and arm 3 neither, but where arm 7 wants its model."""
    elsewhere = parameters.model_copy(
        update={
            "workspace": str(tmp_path / "work"),
            "output": str(tmp_path / "studies"),
            "earlier": parameters.output,
            "arms": ["3", "5"],
        }
    )
    study_paper(elsewhere)
    assert not Workspace(elsewhere.workspace).find("models")
    found = json.loads(Path(elsewhere.output, f"{elsewhere.study}.json").read_text())
    for table in ("sdr", "comparisons"):
        assert found[table] == figures[table], table
    again = elsewhere.model_copy(update={"earlier": elsewhere.output, "train": False})
    assert "in other workspaces than the last" in study_paper(again)[0].read_text()
    assert json.loads(Path(again.output, f"{again.study}.json").read_text()) == found
    wanted = in_order(1, ["3", "5", "7"])
    assert [each.arm.key for each in left_to_do(wanted, [("5", 0), ("3", 0)])] == ["3", "7"]
    study_paper(elsewhere.model_copy(update={"arms": ["8"]}))
    assert not Workspace(elsewhere.workspace).find("models"), "nobody waits for mixit's"
    other = elsewhere.model_copy(update={"steps": 3})
    with pytest.raises(UserError, match=r"--earlier: .*not a file of this study"):
        study_paper(other)
    assert asked_of(other) != asked_of(elsewhere)


def test_what_was_found_is_compared_with_the_truth(
    parameters: PaperParameters, figures: dict[str, Any]
) -> None:
    rows = [(row["segments"], row["silent source"]) for row in figures["detector"]]
    kinds = ("extracted", "surest", "audited")
    assert rows == [(kind, source) for kind in kinds for source in parameters.music.sources]
    assert any(row["minutes"] > 0 for row in figures["detector"])
    assert all(0 <= row["true precision"] <= 1 for row in figures["detector"] if row["minutes"])


@pytest.mark.usefixtures("page")
def test_what_an_arm_waits_for_is_told(parameters: PaperParameters) -> None:
    longer = parameters.model_copy(update={"steps": 3})
    trainings = Trainings(longer, prepare(longer, Path(longer.workspace), 1), "cpu")
    keys = [training.arm.key for training in in_order(1, ["7", "9"])]
    assert keys == ["7", "mixit", "9"]
    first, before, last = in_order(1, ["7", "9"])
    assert (awaited := trainings.state(first).waits) is not None
    assert awaited.label == "arm 3 (Demucs, labelled), seed 0"
    assert trainings.state(before).done, "it has steps of its own"
    job = trainings.state(last).job
    assert job is not None
    assert job.train.init_from == trainings.state(before).model


def test_an_arm_whose_data_cant_make_it_says_so(parameters: PaperParameters, page: str) -> None:
    assert page, "the songs are there"
    longer = parameters.model_copy(update={"crop_s": 9.9})
    trainings = Trainings(longer, prepare(longer, Path(longer.workspace), 1), "cpu")
    [whole_crops] = in_order(1, ["4"])
    state = trainings.state(whole_crops)
    assert state.problem.startswith("no segment of 9.9 s, as long as a crop, was found")
    assert not state.done


def test_one_study_at_a_time_in_a_workspace(tmp_path: Path) -> None:
    with only_study(tmp_path), pytest.raises(UserError, match="--no-train"), only_study(tmp_path):
        pass
