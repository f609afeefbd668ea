from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.catalogue import STAGES
from flows.extract.flow import ExtractBatch, ExtractParameters, extract, extract_batch
from flows.ingest.flow import IngestParameters, ingest
from flows.inputs import registry
from flows.pipeline.flow import PipelineParameters, pipeline
from flows.policy.calibration import calibrated, require_evidence
from flows.score.flow import ScoreBatch, ScoreParameters, score, score_batch
from storage.errors import UserError
from storage.manifests import Manifests, Partition
from storage.music_format import MusicFormat
from storage.reading import CropReader
from storage.weights import load_tensors, save_tensors
from storage.workspace import Workspace
from tests.flows.conftest import BROKEN, Corpus, Finished, assert_same, content, play, write

MUSIC = MusicFormat()
SOURCES = MUSIC.sources


def test_every_stage_leaves_rows_that_belong_together(finished: Finished) -> None:
    tracks = {row["track_id"] for row in finished.rows("tracks")}
    stems = {(row["track_id"], row["source"]) for row in finished.rows("stems")}
    segments = {row["segment_id"] for row in finished.rows("segments")}
    assert len(tracks) == 5
    assert len(stems) == 7 * 5
    assert {(row["track_id"], row["source"]) for row in finished.rows("activity")} == stems
    assert segments
    assert {row["track_id"] for row in finished.rows("segments")} <= tracks
    for row in finished.rows("remixes"):
        assert row["segment_id"] in segments
        assert {stem["source"] for stem in row["added"]} <= set(row["silent_sources"])
        assert all((stem["track_id"], stem["source"]) in stems for stem in row["added"])
    scored = {row["track_id"] for row in finished.rows("scores")}
    assert tracks < scored  # and the songs held out
    models = registry.names(finished.workspace, "models")
    evaluated = {(row["model_id"], row["source"]) for row in finished.rows("evaluations")}
    assert evaluated == {(model, source) for model in models for source in SOURCES}
    assert len(models) == 2
    for result in finished.results:
        runs = finished.manifests.rows(Partition("runs", result.corpus, result.fingerprint))
        first = min(runs, key=lambda row: row["started_at"])
        assert (first["stage"], first["outcome"]) == (result.stage, "completed")


def test_what_cannot_be_used_is_rejected_with_its_reason(finished: Finished) -> None:
    reasons = {Path(row["item"]).name: row["reason"] for row in finished.rows("rejects")}
    assert reasons == BROKEN


def test_the_audio_is_what_the_manifest_says(finished: Finished) -> None:
    reader = CropReader(finished.workspace.location)
    for row in finished.rows("tracks"):
        audio = reader(row["path"], 0, row["num_samples"] + 1)
        assert not audio[:, -1].any()
        pcm = np.rint(audio[:, :-1].T * 32768).astype("<i2")
        assert hashlib.sha256(pcm.tobytes()).hexdigest() == row["content_hash"]


def test_a_stem_that_is_silent_is_inactive(finished: Finished) -> None:
    activity = [row for row in finished.rows("activity") if row["source"] != "mixture"]
    for row in activity:
        silent = np.array(row["level_db"]) < -100
        assert silent.any()
        assert not (np.array(row["active"]) & silent).any()


def test_running_again_does_nothing(finished: Finished) -> None:
    before = finished.workspace.find("manifests")
    results = pipeline(finished.parameters)
    assert all(result.already_done for result in results)
    assert [r.fingerprint for r in results] == [r.fingerprint for r in finished.results]
    added = set(finished.workspace.find("manifests")) - set(before)
    assert {path.split("/")[1] for path in added} == {"runs"}


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


def test_the_same_music_under_another_name_is_all_duplicates(
    finished: Finished, corpus: Corpus
) -> None:
    location = finished.workspace.location
    common = {"workspace": location, "workers": 1, "source": str(corpus.unlabelled)}
    audio = finished.workspace.find("audio")
    again = ingest(IngestParameters(**common, corpus="again", batch_files=3))
    assert again.fingerprint == finished.only("tracks", "music").fingerprint
    assert again.counts["tracks"] == 0
    assert {row["reason"] for row in finished.manifests.rows(finished.only("rejects", "again"))} \
        == {*BROKEN.values()}  # fmt: skip
    assert finished.workspace.find("audio") == audio


def test_a_lost_part_is_made_again_byte_for_byte(finished: Finished) -> None:
    partition = finished.only("scores", "music")
    part = finished.manifests.parts(partition)[0]
    before = finished.workspace.read(part)
    finished.workspace.remove(part)
    score(ScoreParameters(workspace=finished.workspace.location, workers=1, batch_tracks=1))
    assert finished.workspace.read(part) == before


def test_a_track_that_cannot_be_scored_stops_no_other(finished: Finished, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    folder = tmp_path / "music"
    for number in (1, 2):
        write(folder / f"{number}.wav", np.sum(list(play(200 + number).values()), axis=0))
    ingest(IngestParameters(workspace=workspace.location, workers=1, source=str(folder)))
    detector = registry.names(finished.workspace, "detectors")[0]
    for name in (registry.WEIGHTS, registry.DESCRIPTION):
        path = f"detectors/{detector}/{name}"
        workspace.put_bytes(path, finished.workspace.read(path))
    [broken] = workspace.find("audio")[:1]
    workspace.put_bytes(broken, workspace.read(broken)[:1000])
    result = score(ScoreParameters(workspace=workspace.location, workers=1))
    assert (result.counts["tracks"], result.counts["rejected"]) == (1, 1)
    [reject] = Finished(workspace, finished.parameters, []).rows("rejects")
    assert reject["stage"] == "score"
    assert Path(broken).stem == reject["item"]


def test_a_detector_that_gives_nan_scores_nothing(finished: Finished, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    detector = registry.names(finished.workspace, "detectors")[0]
    folder = f"detectors/{detector}"
    tensors, _ = load_tensors(finished.workspace, f"{folder}/{registry.WEIGHTS}")
    broken = {name: np.full_like(value, np.nan) for name, value in tensors.items()}
    save_tensors(workspace, f"{folder}/{registry.WEIGHTS}", broken)
    description = finished.workspace.read(f"{folder}/{registry.DESCRIPTION}")
    workspace.put_bytes(f"{folder}/{registry.DESCRIPTION}", description)
    track = finished.rows("tracks")[0]
    workspace.put_bytes(track["path"], finished.workspace.read(track["path"]))
    target = Partition("scores", "music", "f1")
    counts = score_batch(ScoreBatch(target, workspace, detector, "cpu", 1, [track]))
    assert (counts["tracks"], counts["rejected"]) == (0, 1)
    manifests = Manifests(workspace)
    assert manifests.count(target) == 0
    assert manifests.items(target) == {track["track_id"]}
    [reject] = manifests.rows(Partition("rejects", "music", "f1"))
    assert (reject["reason"], reject["detail"]) == ("not_scored", "the detector gave NaN")


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
        workspace, target, scores, group, policy, (0.5,) * 4, "{}", dict.fromkeys(SOURCES, 0.0)
    )
    assert extract_batch(batch)["rejected"] == 1
    assert manifests.items(target) == {row["track_id"] for row in rows}
    found = {row["track_id"] for row in manifests.rows(target)}
    assert found
    assert bad not in found
    [reject] = manifests.rows(Partition("rejects", "music", "f2"))
    assert (reject["stage"], reject["item"], reject["reason"]) == ("extract", bad, "bad_scores")
    assert "NaN" in reject["detail"]


def test_new_files_are_added_and_lost_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    write(folder / "b.wav", np.sum(list(play(301).values()), axis=0))
    parameters = IngestParameters(workspace=str(tmp_path / "w"), workers=1, source=str(folder))
    assert ingest(parameters).counts["new_tracks"] == 1
    write(folder / "a.wav", np.sum(list(play(302).values()), axis=0))
    (folder / "b.wav").unlink()
    result = ingest(parameters)
    assert (result.counts["new_tracks"], result.counts["tracks"]) == (1, 2)
    assert ingest(parameters).already_done


def test_too_little_evidence_is_refused_by_what_is_missing(finished: Finished) -> None:
    detector = registry.names(finished.workspace, "detectors")[0]
    strict = finished.parameters.extract.model_copy(
        update={"allow_insufficient_evidence": False, "target_precision": 0.98}
    )
    with pytest.raises(UserError, match=r"drums: .* more are needed"):
        calibrated(finished.workspace, detector, strict)
    with pytest.raises(UserError, match=r"3 songs are held out .* at least 36: add 33 to valid/"):
        require_evidence(3, "labelled", strict)
    require_evidence(36, "labelled", strict)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"sample_rate": 22_050},
            "22050 Hz in stereo in frames of 4096 samples; this workspace",
        ),
        ({"sources": ["piano", "rest"]}, "hears piano, rest at 44100 Hz"),
        ({"hop_samples": 2048, "features": {"hop_samples": 512}}, "frames of 2048 samples"),
        ({"num_layers": 3}, "schema that this silentmix does not know .*num_layers"),
        ({"architecture": "oracle"}, "schema that this silentmix does not know .*'oracle'"),
        ({"hidden_channels": 8}, "does not hold the weights"),
        (None, "schema that this silentmix does not know .*detector"),
    ],
)
def test_a_foreign_detector_is_refused(
    finished: Finished, tmp_path: Path, changes: dict[str, Any] | None, expected: str
) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    [name] = registry.names(finished.workspace, "detectors")
    description = registry.describe(finished.workspace, "detectors", name)
    if changes is None:
        del description["detector"]
    else:
        description["detector"].update(changes)
    workspace.put_json(f"detectors/{name}/{registry.DESCRIPTION}", description)
    weights = f"detectors/{name}/{registry.WEIGHTS}"
    workspace.put_bytes(weights, finished.workspace.read(weights))
    with pytest.raises(UserError, match=f"detector '{name}'.*{expected}"):
        registry.load_detector(workspace, name, "cpu")
    if changes != {"hidden_channels": 8}:
        with pytest.raises(UserError, match=expected):
            calibrated(workspace, name, finished.parameters.extract)


def test_workers_batches_and_places_change_no_row(finished: Finished, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    settings = finished.parameters.model_dump() | {
        "workspace": str(other), "workers": 2, "until_stage": "remix"
    }  # fmt: skip
    settings["ingest"]["batch_files"] = 3
    settings["score"]["batch_tracks"] = 2
    results = pipeline(PipelineParameters.model_validate(settings))
    assert [result.stage for result in results] == ["ingest", "ingest", *STAGES[1:5]]
    mine = content(Workspace(str(other)))
    assert {partition.table for partition in mine} == {
        "tracks", "rejects", "stems", "activity", "scores", "segments", "remixes", "heard"
    }  # fmt: skip
    assert_same(mine, content(finished.workspace))
