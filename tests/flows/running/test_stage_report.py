"""The page of a stage run says what went in, what came out and what was refused, and has links."""

from __future__ import annotations

import pytest

from flows.catalogue import STAGES
from flows.score.flow import score
from flows.score.options import ScoreParameters
from flows.server.pages import CAME_OF_IT, artifact_path, run_path
from storage.tables.manifests import Partition
from storage.tables.runs import PastRun, maker, runs_of
from tests.flows.conftest import BROKEN, Finished
from tests.flows.reports.pages import artifacts


def made_by(finished: Finished, stage: str, corpus: str) -> PastRun:
    """The chain's own run of a stage; other tests run more on the same workspace."""
    fingerprint = next(
        result.fingerprint
        for result in finished.results
        if (result.stage, result.corpus) == (stage, corpus)
    )
    runs = runs_of(finished.manifests, Partition("runs", corpus, fingerprint))
    return [run for run in runs if run.made_something][-1]


def page(finished: Finished, stage: str, corpus: str) -> tuple[str, str]:
    """Address and markdown of a stage's report."""
    run = made_by(finished, stage, corpus)
    [found] = artifacts(key=f"{stage}-report", flow_run_id=run.flow_run_id)
    return artifact_path(found["id"]), found["data"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_leaves_one(finished: Finished, stage: str) -> None:
    corpus = next(result.corpus for result in finished.results if result.stage == stage)
    run = made_by(finished, stage, corpus)
    found = artifacts(key=f"{stage}-report", flow_run_id=run.flow_run_id)
    assert len(found) == (2 if stage == "evaluate" else 1)  # one a model
    for report in found:
        assert report["description"].startswith(
            f"{stage} {corpus}: {run.counts['pending']} of {run.counts['total']} "
        )
        assert not report["data"].startswith("# ")  # the UI shows the title above it
        for part in ("**Read:**", "**Came out:**", "**Wrote:**", CAME_OF_IT):
            assert part in report["data"]
    assert any(run.fingerprint in report["data"] for report in found)


def test_the_files_refused_are_counted_with_examples(finished: Finished) -> None:
    _, markdown = page(finished, "ingest", "music")
    for name, reason in BROKEN.items():
        [line] = [line for line in markdown.split("\n") if name in line and line.startswith("- ")]
        assert line.startswith(f"- **{reason.replace('_', ' ')}**, 1: {name} (")


def test_links_lead_to_what_was_read_and_back(finished: Finished) -> None:
    ingested, of_tracks = page(finished, "ingest", "music")
    fitted, of_detector = page(finished, "fit-detector", "labelled")
    scored, of_scores = page(finished, "score", "music")
    assert f"]({ingested})" in of_scores
    assert f"]({fitted})" in of_scores
    for upstream in (of_tracks, of_detector):
        [line] = [line for line in upstream.split("\n") if line.startswith(CAME_OF_IT)]
        assert f"]({scored})" in line


def test_a_run_with_nothing_to_do_says_who_did_it(finished: Finished) -> None:
    parameters = finished.parameters
    result = score(ScoreParameters(workspace=parameters.workspace, corpus=parameters.corpus))
    assert result.already_done
    did_it = maker(finished.manifests, result.fingerprint)
    assert did_it is not None
    last = artifacts(key="score-report")[0]
    assert last["description"] == "score music: nothing was left to do"
    assert "5 tracks were done already" in last["data"]
    assert run_path(did_it.flow_run_id) in last["data"]
    assert last["flow_run_id"] != did_it.flow_run_id


def test_scores_are_shown_with_sounds_and_thresholds(finished: Finished) -> None:
    _, markdown = page(finished, "score", "music")
    assert "Dashed: thresholds calibrated for a precision of 0.5" in markdown
    assert "data:image/png" in markdown
    for source in ("drums", "bass", "other", "vocals"):
        assert f"**{source}** is silent with probability" in markdown
    assert 4 <= markdown.count("<audio controls") <= 8


def test_music_is_shown_as_it_was_ingested(finished: Finished) -> None:
    for corpus in ("music", "labelled"):
        _, markdown = page(finished, "ingest", corpus)
        assert "data:image/png" in markdown
        assert markdown.count("<audio controls") == 2


@pytest.mark.parametrize("stage", ["train", "fit-detector"])
def test_a_training_leaves_one_plot_that_grew(finished: Finished, stage: str) -> None:
    run = made_by(finished, stage, "labelled")
    [plot] = artifacts(key=f"{stage}-loss", flow_run_id=run.flow_run_id)
    assert "data:image/png" in plot["data"]
    assert ("| examples a second |" in plot["data"]) == (stage == "train")
