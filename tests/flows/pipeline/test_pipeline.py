from __future__ import annotations

from pathlib import Path

from flows.catalogue import STAGES
from flows.inputs import registry
from flows.pipeline.flow import pipeline
from flows.pipeline.options import PipelineParameters
from storage.music_format import MusicFormat
from storage.tables.manifests import Partition
from storage.workspace import Workspace
from tests.flows.conftest import OF_PRINTS, Finished, assert_same, content, worker_processes

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
    pages = [path for path in finished.workspace.find("reports") if "/pipeline-" in path]
    reports = [finished.workspace.read(path).decode() for path in pages]
    assert any(all(f"| {stage} |" in report for stage in STAGES) for report in reports)


def test_running_again_does_nothing(finished: Finished) -> None:
    before = finished.workspace.find("manifests")
    results = pipeline(finished.parameters)
    assert all(result.already_done for result in results)
    assert [r.fingerprint for r in results] == [r.fingerprint for r in finished.results]
    added = set(finished.workspace.find("manifests")) - set(before)
    assert {path.split("/")[1] for path in added} == {"runs"}


def test_workers_batches_and_places_change_no_row(finished: Finished, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    settings = finished.parameters.model_dump() | {
        "workspace": str(other), "workers": 2, "until_stage": "remix"
    }  # fmt: skip
    settings["ingest"]["batch_files"] = 3
    settings["score"]["batch_tracks"] = 2
    with worker_processes():
        results = pipeline(PipelineParameters.model_validate(settings))
    assert [result.stage for result in results] == ["ingest", "ingest", *STAGES[1:5]]
    mine = content(Workspace(str(other)))
    assert {partition.table for partition in mine} == {
        "tracks", "rejects", "stems", "activity", "measures", "scores", "segments", "remixes",
        "heard", *OF_PRINTS,
    }  # fmt: skip
    assert_same(mine, content(finished.workspace))
