"""A model's estimates become recipes that train takes, with a lineage, and go with their music."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flows.fsck.command import examine
from flows.inputs import registry
from flows.provenance.deletion import dependents
from flows.provenance.forget import forget
from flows.provenance.lineage import lineage
from flows.pseudo_label.flow import pseudo_label
from flows.pseudo_label.options import PseudoLabelParameters
from flows.running.stage_result import StageResult
from flows.train.flow import train
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.reading import CropReader
from storage.tables.manifests import Partition
from tests.flows.conftest import SOURCES, Finished


def labelling(finished: Finished, **told: Any) -> PseudoLabelParameters:
    teacher = registry.names(finished.workspace, "models")[0]
    fields = {"workspace": finished.workspace.location, "workers": 1, "model": teacher}
    return PseudoLabelParameters.model_validate(
        {**fields, "window_s": 0.5, "batch_tracks": 3, **told}
    )


@pytest.fixture(scope="module")
def made(finished: Finished) -> StageResult:
    return pseudo_label(labelling(finished))


@pytest.fixture(scope="module")
def rows(finished: Finished, made: StageResult) -> list[dict[str, Any]]:
    return list(finished.manifests.rows(Partition("remixes", "music-pseudo", made.fingerprint)))


def test_labels_add_up_to_the_track(finished: Finished, rows: list[dict[str, Any]]) -> None:
    tracks = {row["track_id"]: row for row in finished.rows("tracks")}
    read = CropReader(finished.workspace.location)
    own = [row for row in rows if row["remix_id"].endswith("-0")]
    assert own
    assert len(rows) == 2 * len(own)
    for row in own:
        assert row["path"] == tracks[row["track_id"]]["path"]
        assert row["silent_sources"] == list(SOURCES) == [stem["source"] for stem in row["added"]]
        assert row["stop_sample"] - row["start_sample"] >= 2 * 44_100
        assert 0 <= row["confidence"] <= 1
        span = row["start_sample"], row["stop_sample"] - row["start_sample"]
        labels = [read(stem["path"], *span) for stem in row["added"]]
        assert {(stem["start_sample"], stem["num_samples"]) for stem in row["added"]} == {span}
        np.testing.assert_allclose(np.sum(labels, axis=0), read(row["path"], *span), atol=1e-4)
    mixed = [stem["track_id"] for row in rows if row not in own for stem in row["added"]]
    assert len(set(mixed)) > 1


def test_it_says_how_it_judged_and_does_nothing_twice(
    finished: Finished, made: StageResult, rows: list[dict[str, Any]]
) -> None:
    assert made.counts["kept_sdr_db"] >= made.counts["all_sdr_db"]
    assert any("of the validation songs" in note for note in made.notes)
    assert made.counts["remixes"] == len(rows)
    again = pseudo_label(labelling(finished))
    assert again.already_done
    assert again.fingerprint == made.fingerprint
    with pytest.raises(UserError, match="name another corpus"):
        pseudo_label.fn(labelling(finished, into="music"))


def test_a_student_learns_from_them_and_its_lineage_knows_the_teacher(
    finished: Finished, made: StageResult, rows: list[dict[str, Any]]
) -> None:
    teacher = registry.names(finished.workspace, "models")[0]
    options = finished.parameters.train.model_dump() | {"steps": 1, "weak_share": 1.0}
    student = train(
        TrainParameters(
            **options,
            workspace=finished.workspace.location,
            corpora=["music-pseudo"],
            remixes=[made.fingerprint],
        )
    )
    heard = [row for row in finished.rows("heard") if row["track_id"] == rows[0]["track_id"]]
    assert not any(row["labelled"] for row in heard), "it is no labelled song"
    assert lineage(finished.workspace, student.fingerprint).taught_by == [teacher]
    assert student.fingerprint in [
        hearer.id for hearer in lineage(finished.workspace, rows[0]["track_id"]).models
    ]
    assert any("pseudo-labels of music-pseudo" in line
               for line in dependents(finished.workspace, "models", teacher))  # fmt: skip


@pytest.mark.usefixtures("made")
def test_what_is_forgotten_takes_its_labels_along(
    finished: Finished, rows: list[dict[str, Any]]
) -> None:
    workspace = finished.workspace
    assert examine(workspace, samples=True).findings == []
    gone = rows[0]["track_id"]
    forget(workspace, [gone])
    left = finished.rows("remixes", "music-pseudo")
    assert left
    assert gone not in {stem["track_id"] for row in left for stem in row["added"]}
    assert not [path for path in workspace.find("audio/music-pseudo") if gone in path]
    assert examine(workspace, samples=True).findings == []
