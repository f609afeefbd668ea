"""Extraction writes a partition a policy, and believes no scores that are none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from demucs_core.extraction.calibration import ScoredSong, calibrate
from demucs_core.extraction.segments import ExtractionPolicy
from flows.extract.flow import (
    ExtractBatch,
    extract,
    extract_batch,
    segments_to_play,
    what_is_unproven,
)
from flows.extract.options import ExtractParameters
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import Finished

SOURCES = MusicFormat().sources


def test_another_parameter_gives_a_partition_beside_the_old_one(finished: Finished) -> None:
    corpus = finished.parameters.corpus
    [extracted] = [result for result in finished.results if result.stage == "extract"]
    old = Partition("segments", corpus, extracted.fingerprint)
    before = list(finished.manifests.rows(old))
    options = {name: getattr(finished.parameters.extract, name)
               for name in type(finished.parameters.extract).model_fields}  # fmt: skip
    options["min_duration_s"] = 2.0
    result = extract(
        ExtractParameters(
            workspace=finished.workspace.location, workers=1, corpus=corpus, **options
        )
    )
    assert result.fingerprint != old.fingerprint
    assert list(finished.manifests.rows(old)) == before
    new = Partition("segments", corpus, result.fingerprint)
    assert all(row["duration_s"] >= 2.0 for row in finished.manifests.rows(new))


def test_scores_that_are_no_probabilities_reject_their_track(
    finished: Finished, tmp_path: Path
) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    manifests = Manifests(workspace)
    rows = sorted(
        finished.manifests.rows(finished.only("scores", "music")), key=lambda row: row["track_id"]
    )
    bad = rows[0]["track_id"]
    rows[0]["silence_probability"][2][5] = float("nan")
    scores, target = Partition("scores", "music", "f1"), Partition("segments", "music", "f2")
    manifests.write(scores, [row["track_id"] for row in rows], rows)
    [group] = manifests.row_groups(scores)
    policy = finished.parameters.extract.policy
    batch = ExtractBatch(
        workspace=workspace, target=target, scores=scores, row_group=group, policy=policy,
        thresholds=(0.5,) * 4, policy_json="{}", least_scores=dict.fromkeys(SOURCES, 0.0),
    )  # fmt: skip
    assert extract_batch(batch)["rejected"] == 1
    assert manifests.items(target) == {row["track_id"] for row in rows}
    found = {row["track_id"] for row in manifests.rows(target)}
    assert found
    assert bad not in found
    [reject] = manifests.rows(Partition("rejects", "music", "f2"))
    assert (reject["stage"], reject["item"], reject["reason"]) == ("extract", bad, "bad_scores")
    assert "NaN" in reject["detail"]


def test_what_is_not_promised_is_said() -> None:
    """Fourteen songs, none with an error, show 0.94; of the surest silences fewer have any."""
    frames = 200
    songs = [
        ScoredSong(
            track_id=str(number),
            probability=np.full((2, frames), 0.9999 if number < 10 else 0.9, dtype=np.float32),
            level_db=np.full(frames, -10.0, dtype=np.float32),
            active=np.zeros((2, frames), dtype=np.bool_),
            known=(True, number < 3),
        )
        for number in range(14)
    ]
    calibration = calibrate(
        songs, ExtractionPolicy(), ("drums", "bass"), target_precision=0.94, surest_share=0.67,
        allow_insufficient_evidence=True, hop_samples=4096, sample_rate=44_100,
    )  # fmt: skip
    assert calibration.sources[0].num_songs == 10
    drums, bass = what_is_unproven(calibration, {"drums": 3.0, "bass": 2.0})
    what = r"3\.0 min without drums are extracted with a promised precision of 0\.93\d, not 0\.94: "
    assert re.match(what, drums), "as ten songs show"
    assert bass.startswith("2.0 min without bass are extracted with no promise")
    assert what_is_unproven(calibration, {"drums": 0.0}) == []


def test_what_is_played_is_of_many_tracks(tmp_path: Path) -> None:
    """The first track has the first segments of all sources, and is heard once nevertheless."""
    manifests = Manifests(Workspace(str(tmp_path / "w"), create=True))
    target = Partition("segments", "music", "f1")
    silent = [("a", ["bass"])] * 4 + [("b", ["bass", "drums"]), ("c", ["drums"]), ("a", ["vocals"])]
    rows = [
        {
            "segment_id": f"{track}{number}", "track_id": track, "path": "", "track_num_samples": 9,
            "start_sample": 0, "stop_sample": 9, "duration_s": 1.0, "silent_sources": sources,
            "mean_probability": [1.0], "min_probability": [1.0], "level_db": -20.0,
            "detector_id": "", "scores_fingerprint": "", "policy": "",
        }
        for number, (track, sources) in enumerate(silent)
    ]  # fmt: skip
    manifests.write(target, ["a", "b", "c"], rows)
    played = [row["segment_id"] for row in segments_to_play(manifests, target, SOURCES[:2])]
    assert played == ["b4", "c5", "a0"]
    [only] = segments_to_play(manifests, target, ["vocals"])
    assert only["segment_id"] == "a6"
    played = [row["segment_id"] for row in segments_to_play(manifests, target, ["bass", "vocals"])]
    assert played == ["a0", "b4", "a6"], "vocals are silent in no other track"
