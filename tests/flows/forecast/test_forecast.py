"""A sample of a corpus foretells what extract will find in all of it."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.forecast.flow import CorpusForecast, draw_sample, forecast, print_forecast
from flows.forecast.options import ForecastParameters
from flows.inputs import registry
from flows.policy.calibration import calibrated
from flows.score.flow import score, scores_fingerprint
from flows.score.options import ScoreParameters
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import Finished
from tests.flows.yields.scored import policy


def copy(finished: Finished, tmp_path: Path, *tables: str) -> Workspace:
    """A workspace with the audio, the detector and some manifests of the finished one."""
    workspace = Workspace(str(tmp_path / "w"), create=True)
    folders = ["audio", "detectors", *(f"manifests/{table}" for table in tables)]
    for folder in folders:
        for path in finished.workspace.find(folder):
            workspace.put_bytes(path, finished.workspace.read(path))
    return workspace


def forecast_of(**fields: Any) -> CorpusForecast:
    made = forecast(ForecastParameters(**fields))
    assert isinstance(made, CorpusForecast)
    return made


def test_a_forecast_scores_a_sample_and_the_rest_is_scored_later(
    finished: Finished, tmp_path: Path
) -> None:
    workspace = copy(finished, tmp_path, "tracks", "stems", "activity", "scores")
    manifests = Manifests(workspace)
    [detector] = registry.names(workspace, "detectors")
    scores = Partition("scores", "music", scores_fingerprint(detector))
    for part in manifests.parts(scores):
        workspace.remove(part)
    given = policy(finished, workspace=workspace.location)
    made = forecast_of(**given, sample=3, seed=1)
    drawn = manifests.items(scores)
    assert len(drawn) == made.num_sampled == 3
    assert made.num_tracks == 5
    assert made.scoring_hours is not None
    assert made.hours == pytest.approx(5 * 7 / 3600, rel=0.02)
    for found in made.sources.values():
        assert 0 <= found.low_hours <= found.hours <= found.high_hours <= made.hours
    printed = io.StringIO()
    print_forecast(made, Console(file=printed, width=300))
    assert "3 of 5 tracks sampled" in printed.getvalue()
    assert "scoring the rest would take" in printed.getvalue()
    again = forecast_of(**given, sample=3, seed=1)
    assert again.scoring_hours is None
    assert "was not measured" in again.summary()
    assert again.sources == made.sources
    assert manifests.items(scores) == drawn
    runs = manifests.rows(Partition("runs", "music", scores.fingerprint))
    assert {row["stage"] for row in runs} == {"forecast"}

    result = score(ScoreParameters(workspace=workspace.location))
    assert result.counts["tracks"] == 2
    rows = {row["track_id"]: row for row in manifests.rows(scores)}
    whole = finished.manifests.rows(finished.only("scores", "music"))
    assert rows == {row["track_id"]: row for row in whole}

    all_of_it = forecast_of(**given, sample=5)
    options = finished.parameters.extract
    extracted = extract(ExtractParameters(**given))
    assert calibrated(workspace, detector, options).thresholds
    for source, found in all_of_it.sources.items():
        assert found.hours * 60 == pytest.approx(extracted.counts[f"{source}_minutes"], abs=0.01)


def test_a_corpus_too_small_to_forecast_from(finished: Finished, tmp_path: Path) -> None:
    workspace = copy(finished, tmp_path, "stems", "activity", "scores")
    [track, *_] = finished.rows("tracks")
    Manifests(workspace).write(Partition("tracks", "one", "f1"), [track["track_id"]], [track])
    given = policy(finished, workspace=workspace.location, corpus="one")
    with pytest.raises(UserError, match="'one': 1 of 1 tracks have scores to forecast from"):
        forecast(ForecastParameters(**given))


def test_a_larger_sample_holds_the_smaller_one() -> None:
    tracks = [{"track_id": f"t{number}"} for number in range(200)]
    small, large, other = (
        {track["track_id"] for track in draw_sample(tracks, size, seed)}
        for size, seed in ((20, 0), (50, 0), (20, 1))
    )
    assert len(small) == 20
    assert small < large
    assert small != other
    assert {t["track_id"] for t in draw_sample(tracks[::-1], 20, 0)} == small
    middle = sum(int(track_id[1:]) for track_id in large) / 50
    assert math.isclose(middle, 100, abs_tol=25)
