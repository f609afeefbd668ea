"""The detector learns by the definition of silence that its labels were made by."""

from __future__ import annotations

from pathlib import Path

import pytest

from demucs_core.activity import ActivityConfig
from flows.inputs.songs import activity_definition
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import TABLES
from storage.workspace import Workspace

GIVEN = ActivityConfig(relative_db=-33.3, absolute_db=-50.0, close_gap_s=0.3, context_s=2.0)
ACTIVITY = Partition("activity", "labelled", "f1")


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    return Manifests(Workspace(str(tmp_path / "w"), create=True))


def test_it_is_read_where_ingest_wrote_it(manifests: Manifests) -> None:
    row = {
        "track_id": "t",
        "split": "train",
        "source": "drums",
        "hop_samples": 4096,
        "active": [True],
        "level_db": [-20.0],
        **vars(GIVEN),
    }
    assert row.keys() == {name for name, _, _ in TABLES["activity"].fields}
    manifests.write(ACTIVITY, ["t"], [row])
    assert activity_definition(manifests, ACTIVITY) == GIVEN


def test_where_nothing_is_labelled_it_is_the_default(manifests: Manifests) -> None:
    assert activity_definition(manifests, ACTIVITY) == ActivityConfig()
