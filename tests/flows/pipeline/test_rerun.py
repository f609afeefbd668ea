"""A dry run tells and touches nothing; a forced run does it again and changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from prefect import Flow

from flows.catalogue import STAGES
from flows.cli import main as cli
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.pipeline.flow import pipeline
from flows.pipeline.options import PipelineParameters
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.running.parameters import StageParameters
from flows.running.stage import StageResult, run_stage
from flows.score.flow import score
from flows.score.options import ScoreParameters
from storage.damage import DamagedError
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import SETTINGS, Corpus, Finished, content
from tests.storage.tables.compacted import compact


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def left(results: list[StageResult]) -> list[tuple[str, int, int]]:
    """What each stage of a dry run has left to do."""
    plans = [(result.stage, result.plan) for result in results]
    return [(stage, plan.pending, plan.total) for stage, plan in plans if plan is not None]


def dry(finished: Finished, **changes: object) -> list[StageResult]:
    parameters = PipelineParameters.model_validate(
        {**finished.parameters.model_dump(), "dry_run": True, **changes}
    )
    return run_stage(pipeline, parameters)


def test_a_dry_run_knows_what_is_done_and_touches_nothing(finished: Finished) -> None:
    root = Path(finished.workspace.root)
    before = files(root)
    results = dry(finished)
    assert [result.fingerprint for result in results] == [r.fingerprint for r in finished.results]
    assert all(pending == 0 < total for _, pending, total in left(results))
    forced = dry(finished, force=True)
    assert all(pending == total > 0 for _, pending, total in left(forced))
    otherwise = dry(finished, extract={**SETTINGS["extract"], "guard_s": 0.31})
    assert left(otherwise)[-1] == ("extract", 5, 5)
    assert [r.stage for r in otherwise if r.waits_for == "extract"] == list(STAGES[4:])
    assert files(root) == before


def test_a_dry_run_where_nothing_is_yet(corpus: Corpus, tmp_path: Path) -> None:
    settings = corpus.settings(tmp_path / "new") | {"dry_run": True}
    results = run_stage(pipeline, PipelineParameters.model_validate(settings))
    assert left(results) == [("ingest", 7, 7), ("ingest", 11, 11)]
    assert {result.waits_for for result in results[2:]} == {"ingest"}
    settings["unlabelled"] = ""
    with pytest.raises(UserError, match="unlabelled is required"):
        run_stage(pipeline, PipelineParameters.model_validate(settings))
    assert not list(tmp_path.iterdir())


def test_a_dry_run_on_the_command_line(
    finished: Finished, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a server: one that was asked for would be missed here."""
    monkeypatch.setattr(cli, "WorkspaceServer", None)
    location = finished.workspace.location
    assert cli.main(["score", "--workspace", location, "--dry-run", "--force"]) == 0
    [scored] = [result for result in finished.results if result.stage == "score"]
    [_, line] = capsys.readouterr().out.splitlines()
    assert line.split()[:3] == ["score", "music", scored.fingerprint]
    assert "5 of 5 tracks" in line


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Workspace:
    """A copy of the finished workspace."""
    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    return Workspace(str(tmp_path / "workspace"))


def test_a_forced_stage_makes_the_same_again(
    corpus: Corpus, finished: Finished, copy: Workspace
) -> None:
    """Also from parts that were cut otherwise, from joined ones, and over damaged audio."""
    manifests = Manifests(copy)
    before = content(copy)
    [scores] = manifests.partitions("scores", "music")
    assert compact(manifests, scores) == 5
    damaged = next(manifests.rows(finished.only("tracks", "music")))["path"]
    whole = copy.read(damaged)
    copy.put_bytes(damaged, whole[:1000])
    again: list[tuple[Flow[..., StageResult], type[StageParameters], dict[str, object]]] = [
        (ingest, IngestParameters, {"source": str(corpus.unlabelled), "batch_files": 3}),
        (score, ScoreParameters, {"batch_tracks": 2}),
        (extract, ExtractParameters, SETTINGS["extract"]),
        (remix, RemixParameters, SETTINGS["remix"]),
    ]
    for stage_flow, model, options in again:
        values = {**options, "workspace": copy.location, "force": True}
        result = run_stage(stage_flow, model.model_validate(values))
        assert not result.already_done
        assert content(copy) == before, result.stage
    assert copy.read(damaged) == whole
    assert len(manifests.parts(scores)) == 3


def test_a_forced_ingest_keeps_what_it_cannot_make_again(
    corpus: Corpus, copy: Workspace, tmp_path: Path
) -> None:
    """A part with a file that is no longer there stays."""
    music = tmp_path / "music"
    shutil.copytree(corpus.unlabelled, music)
    values = {
        "workspace": copy.location, "source": str(music), "corpus": "other", "batch_files": 1,
        "silence_db": -60.0,
    }  # fmt: skip
    for path in (copy.location + "/manifests/tracks", copy.location + "/manifests/rejects"):
        shutil.rmtree(path)
    run_stage(ingest, IngestParameters.model_validate(values))
    before = content(copy)
    (music / "e.wav").unlink()
    result = run_stage(ingest, IngestParameters.model_validate({**values, "force": True}))
    assert result.plan is not None
    assert (result.plan.pending, result.plan.total) == (10, 10)
    assert content(copy) == before


@pytest.mark.parametrize(
    ("stage_flow", "model", "reads", "writes"),
    [
        (score, ScoreParameters, "tracks", "scores"),
        (extract, ExtractParameters, "scores", "segments"),
        (remix, RemixParameters, "segments", "remixes"),
    ],
)
def test_a_forced_stage_that_is_refused_takes_nothing_away(
    copy: Workspace, stage_flow: Flow[..., StageResult], model: type[StageParameters],
    reads: str, writes: str,
) -> None:  # fmt: skip
    """A part of what it reads is gone, so that it could not make all of it again."""
    manifests = Manifests(copy)
    [read] = manifests.partitions(reads, "music")
    [written] = manifests.partitions(writes, "music")
    parts = manifests.parts(written)
    copy.remove(manifests.parts(read)[0])
    options = SETTINGS.get(stage_flow.name, {})
    parameters = model.model_validate({**options, "workspace": copy.location, "force": True})
    with pytest.raises(DamagedError, match="missing"):
        run_stage(stage_flow, parameters)
    assert manifests.parts(written) == parts
