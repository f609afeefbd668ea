"""Looking at yields and forecasting them, on the finished pipeline's scores."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli import main as cli
from flows.cli.stage_table import print_results
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.forecast.flow import CorpusForecast, draw_sample, forecast, print_forecast
from flows.forecast.options import ForecastParameters
from flows.inputs import registry
from flows.policy.calibration import calibrated
from flows.reports.silent_minutes import silent_minutes
from flows.score.flow import score, scores_fingerprint
from flows.score.options import ScoreParameters
from flows.yields.flow import yields
from flows.yields.options import YieldsParameters
from storage.errors import UserError
from storage.manifests import Manifests, Partition
from storage.music_format import MusicFormat
from storage.workspace import Workspace
from tests.flows.conftest import Finished

MUSIC = MusicFormat()
SOURCES = MUSIC.sources


def policy(finished: Finished, **changes: Any) -> dict[str, Any]:
    common = {"workspace": finished.workspace.location, "corpus": "music"}
    return {**finished.parameters.extract.model_dump(), **common, **changes}


def copy(finished: Finished, tmp_path: Path, *tables: str) -> Workspace:
    """A workspace with the audio, the detector and some manifests of the finished one."""
    workspace = Workspace(str(tmp_path / "w"), create=True)
    folders = ["audio", "detectors", *(f"manifests/{table}" for table in tables)]
    for folder in folders:
        for path in finished.workspace.find(folder):
            workspace.put_bytes(path, finished.workspace.read(path))
    return workspace


def test_the_choice_marked_is_what_extract_found_and_nothing_is_written(
    finished: Finished,
) -> None:
    root = Path(finished.workspace.location)
    before = sorted(root.rglob("*"))
    found = yields(YieldsParameters(**policy(finished, thresholds=[0.6, 0.9])))
    assert sorted(root.rglob("*")) == before
    assert found.calibration is not None
    extracted = next(result for result in finished.results if result.stage == "extract")
    minutes = silent_minutes(
        finished.manifests, Partition("segments", "music", extracted.fingerprint)
    )
    column = found.yields.min_durations_s.index(found.policy.min_duration_s)
    for index, source in enumerate(found.calibration.sources):
        rows = [row for row in found.rows() if row["silent"] == source.source]
        marked = [cell for row in rows for cell in row.values() if cell.endswith("*")]
        if source.threshold is None:
            assert not marked
            assert not minutes[source.source]
            continue
        [cell] = marked
        assert len(rows) == len({0.6, 0.9, source.threshold})
        row = found.yields.thresholds.index(source.threshold)
        assert found.yields.seconds[row, column, index] / 60 == pytest.approx(
            minutes[source.source], abs=1 / 600
        )
        assert cell == f"{minutes[source.source]:.1f} *"
    assert found.yields.num_tracks == 5


def test_yields_are_shown_where_nothing_can_be_promised(
    finished: Finished, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "configure_prefect", lambda *_: False)
    monkeypatch.setenv("COLUMNS", "200")
    location = finished.workspace.location
    assert cli.main(["yields", "--workspace", location, "--target-precision", "0.98"]) == 0
    said = capsys.readouterr().out
    assert "nothing is calibrated" in said
    assert "more are needed" in said
    assert "≥ 3 s" in said
    assert cli.main(["yields", "--workspace", location, "--thresholds", "1.5"]) == 2
    assert "thresholds.0 must be below 1" in capsys.readouterr().err


def test_a_policy_that_extracts_nothing_names_one_that_would(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = policy(finished, min_duration_s=5.0)
    result = extract(ExtractParameters(**nothing))
    found = [source for source in SOURCES if not result.counts[f"{source}_minutes"]]
    assert found
    assert len(result.notes) == len(found)
    print_results([result], Console())
    said = " ".join(capsys.readouterr().out.split())
    for source, note in zip(found, result.notes, strict=True):
        assert note.startswith(f"nothing without {source}, at min_duration_s 5 and")
        assert note in said
    assert extract(ExtractParameters(**nothing)).notes == result.notes
    source, options = next(
        (source, note.partition("; ")[2])
        for source, note in zip(found, result.notes, strict=True)
        if "would find" in note
    )
    field, value, *_ = options.split()
    again = extract(ExtractParameters(**{**nothing, field: float(value)}))
    assert again.counts[f"{source}_minutes"] > 0


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
