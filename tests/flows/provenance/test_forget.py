"""Forgotten music is gone from everywhere but the models, which say so; and it stays away."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import registry
from flows.provenance.forget import forget
from flows.provenance.lineage import lineage
from storage.errors import UserError
from storage.manifests import Manifests
from storage.schemas import TABLES
from storage.workspace import Workspace
from tests.flows.conftest import Corpus, Finished, content


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Workspace:
    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    return Workspace(str(tmp_path / "workspace"))


def rows(workspace: Workspace, table: str) -> list[dict[str, Any]]:
    manifests = Manifests(workspace)
    return [row for part in manifests.partitions(table) for row in manifests.rows(part)]


def everything(workspace: Workspace) -> list[str]:
    root = Path(workspace.root)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def uses(row: dict[str, Any], track_id: str) -> bool:
    added = {stem["track_id"] for stem in row.get("added", [])}
    return track_id in {row.get("track_id"), *added}


def heard_track(workspace: Workspace) -> dict[str, Any]:
    remixed = {row["track_id"] for row in rows(workspace, "remixes")}
    return next(row for row in rows(workspace, "tracks") if row["track_id"] in remixed)


def traces(workspace: Workspace, *texts: str) -> list[str]:
    """The files below the workspace that one of the texts is in, or in the name of."""
    return [
        path
        for path in everything(workspace)
        if any(text in path or text.encode() in workspace.read(path) for text in texts)
    ]


def survivors(workspace: Workspace, track_id: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of every manifest that have nothing to do with a track."""
    return {
        table: [row for row in rows(workspace, table) if not uses(row, track_id)]
        for table in TABLES
        if table not in ("rejects", "runs", "heard", "steps")  # of steps, what is unknown is NaN
    }


def test_a_dry_run_tells_and_leaves_all(copy: Workspace) -> None:
    track = heard_track(copy)
    before = {path: copy.read(path) for path in everything(copy)}
    told = forget(copy, [track["track_id"]], dry_run=True)
    assert {path: copy.read(path) for path in everything(copy)} == before
    assert forget(copy, [track["source_url"]]).model_copy(update={"dry_run": True}) == told


def test_a_track_and_all_that_was_made_of_it(copy: Workspace) -> None:
    track = heard_track(copy)
    track_id = track["track_id"]
    expected = survivors(copy, track_id)
    segments = [row["segment_id"] for row in rows(copy, "segments") if uses(row, track_id)]
    hearers = [hearer.id for hearer in lineage(copy, track_id).models]
    assert hearers
    assert segments
    result = forget(copy, [track_id])
    assert result.models == hearers
    assert result.detectors == []
    assert result.rows.keys() == {"tracks", "source_files", "scores", "segments", "remixes"}
    assert survivors(copy, track_id) == expected == {table: rows(copy, table) for table in expected}
    assert not copy.exists(track["path"])
    left = traces(copy, *segments)
    assert not left
    # what is left of it: the models' marks, what they heard, and the record
    kept = {"/".join(path.split("/")[:2]) for path in traces(copy, track_id)}
    # parts may be too small or too large to be compressed, so some show their rows and some don't
    assert kept - {"manifests/heard", "manifests/rejects"} == {f"models/{name}" for name in hearers}
    assert registry.forgotten(copy, "models", hearers[0]) == [track_id]
    found = lineage(copy, track["source_url"])
    assert found.forgotten
    assert [(hearer.id, hearer.num_forgotten) for hearer in found.models] == [(hearers[0], 1)]


def test_a_song(copy: Workspace) -> None:
    song = next(row for row in rows(copy, "remixes") if row["added"])["added"][0]
    track_id = song["track_id"]
    expected = survivors(copy, track_id)
    name = next(row["song"] for row in rows(copy, "stems") if row["track_id"] == track_id)
    result = forget(copy, [name])
    assert result.names == {track_id: name}
    assert set(result.models) == set(registry.names(copy, "models"))
    assert result.detectors == registry.names(copy, "detectors")
    assert expected == {table: rows(copy, table) for table in expected}
    assert not copy.find(f"audio/labelled/{track_id}")


def test_a_test_song_leaves_no_scores_and_no_sounds(copy: Workspace) -> None:
    test = next(row for row in rows(copy, "stems") if row["split"] == "test")
    result = forget(copy, [test["track_id"]])
    assert result.models == result.detectors == []
    assert rows(copy, "evaluations") == []
    assert not [path for path in copy.find("reports") if test["song"] in path]
    assert not [path for path in copy.find("reports") if path.endswith("-estimate.mp3")]


def test_a_forgetting_that_was_killed_is_ended_by_the_next(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at its first change, the next one at its second, and so on until one gets through."""
    track = heard_track(copy)
    track_id, pattern = track["track_id"], "*/" + track["source_url"].rpartition("/")[2]
    expected = survivors(copy, track_id)
    hearers = [hearer.id for hearer in lineage(copy, track_id).models]
    left = 0

    def limited(change: Any) -> Any:
        def changed(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return change(*arguments)

        return changed

    monkeypatch.setattr(Workspace, "put", limited(Workspace.put))
    monkeypatch.setattr(Workspace, "remove", limited(Workspace.remove))
    for allowed in range(100):
        left = allowed
        try:
            forget(copy, [], pattern)
        except KeyboardInterrupt:
            continue
        break
    assert allowed > 3
    assert expected == {table: rows(copy, table) for table in expected}
    kept = {"/".join(path.split("/")[:2]) for path in traces(copy, track_id)}
    # parts may be too small or too large to be compressed, so some show their rows and some don't
    assert kept - {"manifests/heard", "manifests/rejects"} == {f"models/{name}" for name in hearers}
    records = [row for row in rows(copy, "rejects") if row["stage"] == "forget"]
    assert [row["item"] for row in records] == [track_id]


def test_what_is_forgotten_does_not_come_back(corpus: Corpus, copy: Workspace) -> None:
    track = heard_track(copy)
    forget(copy, [track["track_id"]])
    before = content(copy)
    values = {"workspace": copy.location, "source": str(corpus.unlabelled)}
    for options in ({}, {"silence_db": -66.0}, {"corpus": "again"}):
        ingest(IngestParameters.model_validate(values | options))
        assert track["track_id"] not in {row["track_id"] for row in rows(copy, "tracks")}
        assert not [path for path in copy.find("audio") if track["track_id"] in path]
    refused = [row["item"] for row in rows(copy, "rejects") if row["reason"] == "forgotten"]
    assert refused.count(track["source_url"]) == 3
    mine = content(copy)
    for partition, kept in before.items():
        assert set(kept) <= set(mine[partition])


def test_what_nobody_knows_removes_nothing(copy: Workspace) -> None:
    track = heard_track(copy)
    before = everything(copy)
    with pytest.raises(UserError, match="'nope': no track, song or source file"):
        forget(copy, [track["track_id"], "nope"])
    with pytest.raises(UserError, match="forget what"):
        forget(copy, [])
    assert everything(copy) == before
