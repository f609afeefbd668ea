"""The walk from models to files and back, against joins of the manifests made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.inputs import registry
from flows.provenance.lineage import Lineage, lineage
from storage.errors import UserError
from storage.tables.manifests import Partition
from tests.flows.conftest import Finished


def walk(finished: Finished, name: str) -> Lineage:
    return lineage(finished.workspace, name, most=0)


def models(finished: Finished) -> tuple[str, str]:
    """The one trained on labelled songs alone, and the one that heard remixes."""
    shares = {
        name: registry.describe(finished.workspace, "models", name)["training"]["weak_share"]
        for name in registry.names(finished.workspace, "models")
    }
    alone, mixed = sorted(shares, key=lambda name: shares[name])
    assert shares[alone] == 0 < shares[mixed]
    return alone, mixed


def songs(finished: Finished, *splits: str) -> set[str]:
    return {row["track_id"] for row in finished.rows("stems") if row["split"] in splits}


def test_from_a_model_to_the_files(finished: Finished) -> None:
    alone, mixed = models(finished)
    remixes = finished.rows("remixes")
    found = walk(finished, mixed)
    assert found.kind == "model"
    assert set(found.remixes.first) == {row["remix_id"] for row in remixes}
    assert found.remixes.count == len(remixes)
    assert set(found.segments.first) == {row["segment_id"] for row in remixes}
    heard = {row["track_id"] for row in remixes}
    assert set(found.tracks.first) == heard
    assert set(found.songs.first) == songs(finished, "train", "valid")
    assert found.found_by == registry.names(finished.workspace, "detectors")
    urls = {row["source_url"] for row in finished.rows("source_files") if row["track_id"] in heard}
    urls |= {row["source_url"] for row in finished.rows("stems") if row["split"] != "test"}
    assert set(found.files.first) == urls
    plain = walk(finished, alone)
    assert (plain.remixes.count, plain.tracks.count, plain.found_by) == (0, 0, [])
    assert set(plain.songs.first) == songs(finished, "train", "valid")


def test_from_a_file_to_every_model_that_heard_it(finished: Finished) -> None:
    _, mixed = models(finished)
    files: dict[str, list[str]] = {}
    for look in sorted(finished.rows("source_files"), key=lambda look: look["source_url"]):
        files.setdefault(look["track_id"], []).append(look["source_url"])
    [(first, copy)] = [urls for track_id, urls in files.items() if track_id and len(urls) > 1]
    assert walk(finished, copy) == walk(finished, first).model_copy(update={"id": copy})
    for row in finished.rows("tracks"):
        of_track = [r for r in finished.rows("remixes") if r["track_id"] == row["track_id"]]
        for name in (row["source_url"], row["source_url"].rpartition("/")[2], row["track_id"]):
            found = walk(finished, name)
            assert found.files.first == files[row["track_id"]]
            assert set(found.remixes.first) == {recipe["remix_id"] for recipe in of_track}
            hearers = {hearer.id: hearer.num_remixes for hearer in found.models}
            assert hearers == ({mixed: len(of_track)} if of_track else {})


def test_a_file_is_named_as_from_here(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = Path(finished.rows("tracks")[0]["source_url"])
    monkeypatch.chdir(file.parent)
    for name in (f"./{file.name}", f"../{file.parent.name}/{file.name}", f"x/../{file.name}"):
        assert walk(finished, name).files.first == walk(finished, str(file)).files.first
    monkeypatch.chdir(tmp_path)
    assert walk(finished, f"{file.parent.name}/{file.name}").kind == "file"
    for name in (f"./{file.name}", f"x/../{file.name}"):
        with pytest.raises(UserError, match="nothing here is called"):
            walk(finished, name)


def test_from_a_song(finished: Finished) -> None:
    stems = {row["track_id"]: row for row in finished.rows("stems")}  # one of each song
    for row in stems.values():
        found = walk(finished, row["song"])
        assert found == walk(finished, row["track_id"]).model_copy(update={"id": row["song"]})
        adding = [
            recipe["remix_id"]
            for recipe in finished.rows("remixes")
            if row["track_id"] in {stem["track_id"] for stem in recipe["added"]}
        ]
        assert set(found.remixes.first) == set(adding)
        heard = row["split"] != "test"
        assert {hearer.id for hearer in found.models} == (set(models(finished)) if heard else set())
        assert bool(found.detectors) == heard


def test_from_what_lies_between(finished: Finished) -> None:
    _, mixed = models(finished)
    recipe = finished.rows("remixes")[0]
    segments = {row["segment_id"]: row for row in finished.rows("segments")}
    from_remix = walk(finished, recipe["remix_id"])
    from_segment = walk(finished, recipe["segment_id"])
    for found in (from_remix, from_segment):
        assert found.segments.first == [recipe["segment_id"]]
        assert found.tracks.first == [recipe["track_id"]]
        assert [hearer.id for hearer in found.models] == [mixed]
        assert found.found_by == [segments[recipe["segment_id"]]["detector_id"]]
    assert from_remix.remixes.first == [recipe["remix_id"]]
    assert from_remix.songs.first == sorted({stem["track_id"] for stem in recipe["added"]})
    from_detector = walk(finished, from_segment.found_by[0])
    assert set(from_detector.segments.first) == set(segments)
    assert set(from_detector.songs.first) == songs(finished, "train", "valid")
    assert [hearer.id for hearer in from_detector.models] == [mixed]


def test_a_model_draws_from_its_own_partition_alone(finished: Finished) -> None:
    """Rows that came after a model was trained, from music it never heard, are not its."""
    _, mixed = models(finished)
    before = walk(finished, mixed)
    old = finished.only("remixes", "music")
    row: dict[str, Any] = next(finished.manifests.rows(old))
    late = {**row, "remix_id": "late-0", "segment_id": "late", "track_id": "0late"}
    part = finished.manifests.write(old, ["late"], [late])
    try:
        assert walk(finished, mixed) == before
        assert walk(finished, "late-0").models == []
    finally:
        finished.workspace.remove(part)
    assert finished.manifests.count(old) == before.remixes.count


def test_names_are_listed_up_to_a_limit(finished: Finished) -> None:
    found = lineage(finished.workspace, models(finished)[1], most=2)
    [extracted] = [result for result in finished.results if result.stage == "extract"]
    segments = Partition("segments", extracted.corpus, extracted.fingerprint)
    assert found.segments.count == finished.manifests.count(segments)
    assert len(found.segments.first) == 2
    assert json.loads(found.model_dump_json())["segments"]["first"] == found.segments.first


def test_what_nobody_knows(finished: Finished) -> None:
    with pytest.raises(UserError, match="nothing here is called \"it's nobody's\""):
        walk(finished, "it's nobody's")
