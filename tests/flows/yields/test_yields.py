"""Looking at yields, on the finished pipeline's scores."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from flows.cli import main as cli
from flows.cli.stage_table import print_results
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.reports.silent_minutes import silent_minutes
from flows.yields.flow import yields
from flows.yields.options import YieldsParameters
from storage.music_format import MusicFormat
from storage.tables.manifests import Partition
from tests.flows.conftest import Finished
from tests.flows.yields.scored import policy

MUSIC = MusicFormat()
SOURCES = MUSIC.sources


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
    notes = [note for note in result.notes if note.startswith("nothing without ")]
    assert len(notes) == len(found)
    unproven = [note for note in result.notes if note not in notes]
    for note in unproven:
        assert "are extracted with no promise (allow_insufficient_evidence): " in note
    assert len(unproven) == 3, "all but bass, in three songs that tell too little"
    print_results([result], Console())
    said = " ".join(capsys.readouterr().out.split())
    for source, note in zip(found, notes, strict=True):
        assert note.startswith(f"nothing without {source}, at min_duration_s 5 and")
        assert note in said
    assert extract(ExtractParameters(**nothing)).notes == result.notes
    source, options = next(
        (source, note.partition("; ")[2])
        for source, note in zip(found, notes, strict=True)
        if "would find" in note
    )
    field, value, *_ = options.split()
    again = extract(ExtractParameters(**{**nothing, field: float(value)}))
    assert again.counts[f"{source}_minutes"] > 0
