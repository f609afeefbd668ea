"""Forgotten music is gone from everywhere but the models, which say so; and it stays away."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.fsck.command import examine
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import registry
from flows.provenance.forget import forget
from flows.provenance.lineage import lineage
from flows.reports.file_names import base_name
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.tables.schemas import TABLES
from storage.workspace import Workspace, track_path
from tests.flows.conftest import OF_PRINTS, Corpus, Finished, content


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
    return track_id in {row.get("track_id"), row.get("other_id"), *added}


def pair(track_id: str, other_id: str) -> dict[str, Any]:
    """A row of ``duplicates``."""
    texts = {"track_id": track_id, "other_id": other_id, "other_corpus": "music"}
    numbers = dict.fromkeys(("start_s", "other_start_s", "overlap_s", "share", "error_rate"), 0.5)
    return {**texts, "other_source": "mixture", "reason": "near_duplicate", **numbers}


def in_reports(workspace: Workspace, *texts: str) -> list[str]:
    """The texts of reports that one of the texts is in, and all files with one in their name."""
    return [
        path
        for path in traces(workspace, *texts)
        if path.startswith("reports/")
        and (not path.endswith((".mp3", ".png")) or any(text in path for text in texts))
    ]


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
    others = [row["track_id"] for row in rows(copy, "tracks") if row["track_id"] != track_id]
    duplicates = replace(Manifests(copy).partitions("tracks", "music")[0], table="duplicates")
    pairs = [pair(track_id, others[0]), pair(others[0], track_id), pair(others[0], others[1])]
    Manifests(copy).write(duplicates, ["pairs"], pairs)
    expected = survivors(copy, track_id)
    segments = [row["segment_id"] for row in rows(copy, "segments") if uses(row, track_id)]
    hearers = [hearer.id for hearer in lineage(copy, track_id).models]
    assert hearers
    assert segments
    assert in_reports(copy, track_id)
    assert in_reports(copy, base_name(track["source_url"]))
    result = forget(copy, [track_id])
    assert result.models == hearers
    assert result.detectors == []
    assert result.rows.keys() == {
        "tracks", "source_files", "measures", "duplicates", "scores", "segments", "remixes",
        *OF_PRINTS,
    }  # fmt: skip
    assert result.rows["duplicates"] == 2
    assert survivors(copy, track_id) == expected == {table: rows(copy, table) for table in expected}
    assert not copy.exists(track["path"])
    left = traces(copy, *segments)
    assert not left
    assert (
        in_reports(copy, track_id, track["source_url"], f"/{base_name(track['source_url'])}") == []
    )
    assert in_reports(copy, f">{base_name(track['source_url'])}<") == []
    assert examine(copy).findings == []
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
    assert in_reports(copy, name)
    result = forget(copy, [name])
    assert in_reports(copy, name, track_id) == []
    assert result.names == {track_id: name}
    assert set(result.models) == set(registry.names(copy, "models"))
    assert result.detectors == registry.names(copy, "detectors")
    assert expected == {table: rows(copy, table) for table in expected}
    assert not copy.find(f"audio/labelled/{track_id}")
    assert examine(copy).findings == []


def test_a_test_song_leaves_no_scores_and_no_sounds(copy: Workspace) -> None:
    test = next(row for row in rows(copy, "stems") if row["split"] == "test")
    assert [path for path in in_reports(copy, test["song"]) if path.endswith("songs.csv")]
    result = forget(copy, [test["track_id"]])
    assert result.models == result.detectors == []
    assert rows(copy, "evaluations") == []
    assert in_reports(copy, test["song"]) == []
    assert not [path for path in copy.find("reports") if "-estimate" in path]


def test_a_validation_song_is_not_played_by_trainings_any_more(copy: Workspace) -> None:
    def played() -> list[str]:
        return [path for path in copy.find("reports") if "/validation-" in path]

    of = {row["split"]: row["song"] for row in rows(copy, "stems")}
    before = played()
    assert before
    forget(copy, [of["train"]])
    assert played() == before
    forget(copy, [of["valid"]])
    assert played() == in_reports(copy, "validation-") == []


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
    gone = [row for place, kept in before.items() for row in set(kept) - set(mine[place])]
    [copy_of_it] = gone  # it was a duplicate of what is forgotten, and has no reject but that now
    assert "copy.wav" in copy_of_it
    assert "'reason': 'duplicate'" in copy_of_it
    assert refused.count(str(corpus.unlabelled / "copy.wav")) == 3


def test_a_file_that_holds_it_too_names_it(
    copy: Workspace, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two files with the same audio, one was unknown; and a path from here always."""
    monkeypatch.chdir(corpus.unlabelled)
    told = forget(copy, ["copy.wav"], dry_run=True)
    [track_id] = told.names
    [original] = [row for row in rows(copy, "tracks") if row["track_id"] == track_id]
    assert Path(original["source_url"]).name != "copy.wav"
    assert forget(copy, [original["source_url"]], dry_run=True).rows == told.rows
    for name in ("./copy.wav", f"../{corpus.unlabelled.name}/copy.wav"):
        assert forget(copy, [name], dry_run=True) == told
    with pytest.raises(UserError, match="no track, song or source file"):
        forget(copy, ["./sub/copy.wav"])
    forget(copy, ["copy.wav"])
    assert not copy.exists(original["path"])
    assert lineage(copy, "copy.wav").forgotten


def test_music_goes_from_every_corpus_that_holds_it(copy: Workspace) -> None:
    """By a copy in another corpus the rows went, and the audio stayed for good."""
    [track, other] = rows(copy, "tracks")[:2]
    manifests = Manifests(copy)
    mine = manifests.partitions("tracks", "music")[0]
    [look] = [row for row in rows(copy, "source_files") if row["source_url"] == track["source_url"]]
    also = {**track, "path": track_path("also", track["track_id"]), "source_url": "/also/own.wav"}
    manifests.write(replace(mine, corpus="also"), ["own"], [also])
    copy.put_bytes(also["path"], copy.read(track["path"]))
    looks = replace(mine, corpus="copies", table="source_files")
    manifests.write(looks, ["copy"], [{**look, "source_url": "/copies/late.wav"}])
    manifests.write(
        looks, ["song"], [{**look, "source_url": "/copies/song.wav", "track_id": "none"}]
    )
    assert lineage(copy, "late.wav").tracks.count == 2
    with pytest.raises(UserError, match="nothing here is called"):
        lineage(copy, "song.wav")  # the audio of a labelled song, say
    with pytest.raises(UserError, match="no track, song or source file"):
        forget(copy, [], "/copies/*")  # which are no files that tracks name
    told = forget(copy, ["/copies/late.wav"], dry_run=True)
    assert told.names.keys() == {track["track_id"]}
    assert forget(copy, [track["track_id"]], dry_run=True).files == told.files
    forget(copy, ["/copies/late.wav"])
    assert not copy.exists(track["path"])
    assert not copy.exists(also["path"])
    assert copy.exists(other["path"])
    for name in (track["source_url"], "/also/own.wav", "/copies/late.wav"):
        assert lineage(copy, name).forgotten


def test_the_file_that_lies_here_is_meant(
    copy: Workspace, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files with one name in several folders."""
    first, second = rows(copy, "tracks")[:2]
    manifests = Manifests(copy)
    [look] = [
        row for row in rows(copy, "source_files") if row["source_url"] == second["source_url"]
    ]
    url = f"/elsewhere/{base_name(first['source_url'])}"
    partition = replace(manifests.partitions("tracks", "music")[0], table="source_files")
    manifests.write(partition, ["late"], [{**look, "source_url": url}])
    name = base_name(url)
    assert forget(copy, [name], dry_run=True).names.keys() == {
        first["track_id"], second["track_id"]
    }  # fmt: skip
    assert forget(copy, [f"elsewhere/{name}"], dry_run=True).names.keys() == {second["track_id"]}
    monkeypatch.chdir(corpus.unlabelled)
    assert forget(copy, [name], dry_run=True).names.keys() == {first["track_id"]}


def test_what_nobody_knows_removes_nothing(copy: Workspace) -> None:
    track = heard_track(copy)
    before = everything(copy)
    with pytest.raises(UserError, match="'nope': no track, song or source file"):
        forget(copy, [track["track_id"], "nope"])
    with pytest.raises(UserError, match="forget what"):
        forget(copy, [])
    assert everything(copy) == before
