"""A condition chooses tracks by what is known of them, and says so where it can't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.inputs import selection
from flows.inputs.selection import selected_tracks
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.score.flow import score
from flows.score.options import ScoreParameters
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import TABLES
from storage.workspace import Workspace
from tests.flows.conftest import SETTINGS, Finished

EMPTY: dict[str, Any] = {"string": "", "bool": False}


def row(table: str, **fields: Any) -> dict[str, Any]:
    """A row of a manifest, with nothing in the other columns."""
    plain = {name: EMPTY.get(str(kind), 0) for name, kind, _ in TABLES[table].fields}
    return plain | fields


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    """Three tracks, the second of which has what the first has."""
    manifests = Manifests(Workspace(str(tmp_path / "workspace"), create=True))
    for number, artist in enumerate(("Ann", "Ann Karaoke", "Bob")):
        name, loud = f"t{number}", -10.0 * number
        written = {
            "tracks": row("tracks", track_id=name, duration_s=60.0 * number),
            "measures": row("measures", track_id=name, artist=artist, loudness_lufs=loud),
        }
        for table, made in written.items():
            manifests.write(Partition(table, "music", "f"), [name], [made])
    same = row("duplicates", track_id="t1", other_id="t0", reason="near_duplicate", share=0.6)
    manifests.write(Partition("duplicates", "music", "f"), ["t1"], [same])
    return manifests


@pytest.mark.parametrize(
    ("where", "duplicates", "chosen"),
    [
        ("artist NOT LIKE '%Karaoke%' -- but not him", "keep", {"t0", "t2"}),
        ("duration_s > 30 OR artist = 'Ann'", "keep", {"t0", "t1", "t2"}),
        ("duration_s > 30 AND loudness_lufs < -15", "keep", {"t2"}),
        ("false", "keep", set()),
        ("", "drop", {"t0", "t2"}),
        ("duration_s > 30", "drop", {"t2"}),
    ],
)
def test_what_is_chosen(
    manifests: Manifests, where: str, duplicates: str, chosen: set[str]
) -> None:
    assert selected_tracks(manifests, "music", where, duplicates) == frozenset(chosen)
    assert selected_tracks(manifests, "other", where, duplicates) == frozenset()
    assert selected_tracks(manifests, "music") is None


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("tempo > 3", "tempo"),
        ("artist LIKE", "syntax error"),
        ("true); SELECT 1; SELECT (1", "more than a condition"),
        ("true) OR (true", "more than a condition"),  # which switched all other conditions off
        ("true) UNION SELECT track_id FROM tracks WHERE (true", "more than a condition"),
        ("true UNION SELECT track_id FROM tracks", "syntax error"),
        ("track_id IN (SELECT column0 FROM '/etc/passwd')", "does not exist"),
        ("artist", "BOOL"),
    ],
)
def test_what_is_no_condition_is_refused_by_name(
    manifests: Manifests, where: str, told: str
) -> None:
    with pytest.raises(UserError, match=rf"where .*{told}"):
        selected_tracks(manifests, "music", where)


def test_what_was_not_measured_is_no_answer(manifests: Manifests) -> None:
    manifests.write(Partition("tracks", "music", "f"), ["t3"], [row("tracks", track_id="t3")])
    assert "t3" in (selected_tracks(manifests, "music", "duration_s < 30") or ())
    with pytest.raises(UserError, match=r"1 tracks were ingested before .* --complete"):
        selected_tracks(manifests, "music", "loudness_lufs < 30")


def test_stages_take_what_is_chosen_under_a_name_of_its_own(finished: Finished) -> None:
    common = {"workspace": finished.workspace.location, "workers": 1}
    tracks = {row["track_id"]: row["source_url"] for row in finished.rows("tracks", "music")}
    of_all = finished.only("segments", "music")
    having = sorted({row["track_id"] for row in finished.rows("segments", "music")})
    chosen = having[0]
    where = f"source_url = '{tracks[chosen]}' AND loudness_lufs > -69"
    extracted = extract(
        ExtractParameters.model_validate({**common, **SETTINGS["extract"], "where": where})
    )
    assert extracted.fingerprint != of_all.fingerprint
    found = Partition("segments", "music", extracted.fingerprint)
    assert {row["track_id"] for row in finished.manifests.rows(found)} == {chosen}
    again = ExtractParameters.model_validate({**common, **SETTINGS["extract"]})
    assert extract(again).fingerprint == of_all.fingerprint
    remixed = remix(
        RemixParameters.model_validate(
            {**common, **SETTINGS["remix"], "segments": of_all.fingerprint, "where": where}
        )
    )
    made = Partition("remixes", "music", remixed.fingerprint)
    assert {row["track_id"] for row in finished.manifests.rows(made)} == {chosen}
    # what is chosen changes no score: all are there already
    scored = score(ScoreParameters.model_validate({**common, "where": where}))
    assert scored.already_done
    assert scored.plan is not None
    assert scored.plan.total == 1


def test_a_condition_that_is_never_answered_is_given_up(
    manifests: Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MOST_S", 0.2)
    endless = "(SELECT sum(a.range % 7) FROM range(10000000) a, range(10000000) b) > 0"
    with pytest.raises(UserError, match=r"not answered in 0\.2 s"):
        selected_tracks(manifests, "music", endless)
