from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from demucs_core import SOURCES
from flows import registry
from flows.calibration import calibrated, require_evidence
from flows.configuration import UserError
from flows.extract import ExtractParameters, extract
from flows.ingest import IngestParameters, ingest
from flows.pipeline import pipeline
from flows.score import ScoreParameters, score
from storage.reading import CropReader
from storage.workspace import Workspace
from tests.flows.conftest import BROKEN, Corpus, Finished, content, play, write


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
    assert {row["outcome"] for row in finished.rows("runs")} == {"completed"}


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
    [old] = finished.manifests.partitions("segments", corpus)
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
    [new] = set(finished.manifests.partitions("segments", corpus)) - {old}
    assert all(row["duration_s"] >= 2.0 for row in finished.manifests.rows(new))


def test_workers_and_batches_change_no_row(finished: Finished, corpus: Corpus) -> None:
    location = finished.workspace.location
    common = {"workspace": location, "workers": 2, "source": str(corpus.unlabelled)}
    again = ingest(IngestParameters(**common, corpus="again", batch_files=3))
    assert again.fingerprint == finished.only("tracks", "music").fingerprint
    # the same music under another name: everything is a duplicate of the first corpus
    assert again.counts["tracks"] == 0
    assert {row["reason"] for row in finished.manifests.rows(finished.only("rejects", "again"))} \
        == {*BROKEN.values()}  # fmt: skip


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


def test_a_foreign_detector_is_refused(finished: Finished, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    name = registry.names(finished.workspace, "detectors")[0]
    description = registry.describe(finished.workspace, "detectors", name)
    description["detector"]["sample_rate"] = 22_050
    workspace.put_json(f"detectors/{name}/{registry.DESCRIPTION}", description)
    with pytest.raises(UserError, match="22050 Hz; this workspace holds"):
        registry.load_detector(workspace, name, "cpu")


def test_the_rows_do_not_depend_on_where_the_workspace_is(
    finished: Finished, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    parameters = finished.parameters.model_copy(
        update={"workspace": str(other), "until_stage": "score"}
    )
    pipeline(parameters)
    mine, theirs = content(Workspace(str(other))), content(finished.workspace)
    for table in ("stems", "activity"):
        assert mine[table] == theirs[table]
    assert set(mine["tracks"]) <= set(theirs["tracks"])
    assert set(mine["scores"]) <= set(theirs["scores"])
