"""What the chain can know before its stages run is refused then, and not hours later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline.flow import look_ahead, pipeline
from flows.pipeline.options import PipelineParameters
from flows.running.chain import Chain
from flows.running.stage import StageResult
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import SOURCES


@pytest.fixture
def fields(tmp_path: Path) -> dict[str, Any]:
    """A set of which six songs are held out, and music; files that nobody has listened to."""
    songs = [*(f"valid/V{number}" for number in range(6)), "train/A", "test/T"]
    for path in [f"labelled/{song}/{source}.wav" for song in songs for source in SOURCES]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "music").mkdir()
    (tmp_path / "music/a.mp3").touch()
    return {
        "workspace": str(tmp_path / "workspace"),
        "labelled": str(tmp_path / "labelled"),
        "unlabelled": str(tmp_path / "music"),
        "extract": {"target_precision": 0.5},
        "train": {"channels": 4, "depth": 2},
    }


def said(fields: Mapping[str, Any], *results: StageResult, **changes: object) -> str:
    """What is refused ahead; nothing, if all is well."""
    chain = Chain(PipelineParameters.model_validate({**fields, **changes}), list(results))
    try:
        look_ahead(chain)
    except UserError as error:
        return str(error)
    return ""


def test_what_is_right_goes_on(fields: dict[str, Any]) -> None:
    assert said(fields) == ""
    assert not Path(fields["workspace"]).exists()


def test_what_is_refused_before_anything_is_done(fields: dict[str, Any]) -> None:
    place = fields["workspace"]
    refused: dict[str, dict[str, Any]] = {
        f"libraries: no corpus 'stems' with stems in {place} (there are none); ingest it first: "
        "`silentmix ingest --labelled --source PLACE --corpus stems": {"libraries": ["stems"]},
        "/no/such/music: no such file or folder; check the path": {"unlabelled": "/no/such/music"},
        "corpus 'labelled': 6 songs are held out to calibrate on": {"extract": {}},
        "device 'cuda:7'": {"train": {"device": "cuda:7"}},
        "architecture: ": {"train": {"architecture_config": "{no_such_field: 1}"}},
        "init_from: ": {"train": {"init_from": "/no/weights.safetensors"}},
    }
    for told, changes in refused.items():
        assert said(fields, **changes).startswith(told), told
    with pytest.raises(UserError, match="no corpus 'stems'"):
        pipeline(PipelineParameters.model_validate({**fields, "libraries": ["stems"]}))
    assert not Path(place).exists()


def test_only_stages_that_run_are_looked_at(fields: dict[str, Any]) -> None:
    assert said(fields, extract={}, until_stage="ingest") == ""


def test_what_the_labelled_songs_tell(fields: dict[str, Any]) -> None:
    """Their lengths are known once they are ingested, which comes before the music."""
    manifests = Manifests(Workspace(fields["workspace"], create=True))
    rate = manifests.workspace.music.sample_rate
    stem = dict.fromkeys(("source_url", "take_urls", "path", "content_hash"), "") | {
        "num_samples": 6 * rate, "sample_rate": rate, "duration_s": 6.0, "padded_s": 0.0,
        "residual_db": -120.0, "gain_db": 0.0, "level_db": -20.0,
    }  # fmt: skip
    activity = {
        "hop_samples": 4096, "active": [True], "level_db": [-20.0], "relative_db": -30.0,
        "absolute_db": -60.0, "close_gap_s": 0.3, "context_s": 1.0,
    }  # fmt: skip
    names = [("train", "A"), *(("valid", f"V{number}") for number in range(5))]
    keys = [
        {"track_id": song, "split": split, "source": source}
        for split, song in names
        for source in (*SOURCES, "mixture")
    ]
    stems = Partition("stems", "labelled", "f1")
    manifests.write(
        Partition("activity", "labelled", "f1"), ["a"], [{**activity, **k} for k in keys]
    )
    manifests.write(stems, ["a"], [{**stem, **k, "song": k["track_id"]} for k in keys])
    ingested = StageResult(stage="ingest", corpus="labelled", fingerprint="f1")
    six = {"target_precision": 0.5, "min_songs": 6}
    short = "crop_s is 10 s, and no training song is as long: A has 6.00 s and is the longest"
    assert said(fields, ingested).startswith(short)
    assert said(fields, from_stage="fit-detector").startswith(short)
    assert said(fields, ingested, train={"crop_s": 5.0}) == ""
    # a song more lies in the set by now
    assert said(fields, extract=six, train={"crop_s": 5.0}) == ""
    assert "5 songs are held out" in said(fields, ingested, extract=six)
    assert said(fields, ingested, dry_run=True) == ""
