"""Rows that are not current: no reader sees them, and nothing is taken away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import RETURNED, TABLES
from storage.tables.sql import connect
from storage.workspace import Workspace
from tests.storage.tables.compacted import compact

START = datetime(2026, 1, 1, tzinfo=UTC)
STEMS = Partition("stems", "labelled", "f1")
ACTIVITY = Partition("activity", "labelled", "f1")


@pytest.fixture(params=["local", "memory"])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> Manifests:
    url = str(tmp_path / "w") if request.param == "local" else f"memory://{tmp_path.name}/w"
    return Manifests(Workspace(url, create=True))


def write(manifests: Manifests, partition: Partition, *rows: dict[str, Any]) -> None:
    """Rows with the values that are given, the others as good as empty."""
    schema = TABLES[partition.table].schema
    full = [{field.name: blank(field.type) for field in schema} | row for row in rows]
    manifests.write(partition, [repr(row) for row in rows], full)


def blank(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return []
    if pa.types.is_string(kind):
        return ""
    if pa.types.is_timestamp(kind):
        return START
    return False if pa.types.is_boolean(kind) else pa.scalar(0, kind).as_py()


def retire(
    manifests: Manifests, corpus: str, *keys: tuple[str, ...], reason: str = "moved", at: int = 0
) -> None:
    names = ("manifest", "track_id", "split", "name")
    rows = [
        {
            **dict.fromkeys(names, ""),
            **dict(zip(names, key, strict=False)),
            "reason": reason,
            "superseded_by": "another",
            "decided_at": START + timedelta(seconds=at),
        }
        for key in keys
    ]
    manifests.write(Partition("retired", corpus, "f1"), [f"{keys}{at}"], rows)


def songs(*names: tuple[str, str, str]) -> list[dict[str, Any]]:
    return [{"track_id": track, "split": split, "song": song, "source": "mixture"}
            for track, split, song in names]  # fmt: skip


def splits(manifests: Manifests) -> set[tuple[str, str]]:
    return {(row["split"], row["song"]) for row in manifests.rows(STEMS, ["song", "split"])}


def test_a_song_that_moved_is_where_it_is_now(manifests: Manifests) -> None:
    write(manifests, STEMS, *songs(("x", "train", "A"), ("y", "train", "B"), ("x", "test", "A")))
    whole = manifests.digest(STEMS)
    assert manifests.count(STEMS) == 3
    retire(manifests, "labelled", ("stems", "x", "train", "A"))
    assert splits(manifests) == {("train", "B"), ("test", "A")}
    assert manifests.count(STEMS) == 2
    assert list(manifests.keys(STEMS)) == ["y/mixture", "x/mixture"]
    [group] = manifests.row_groups(STEMS)
    assert [row["song"] for row in manifests.read_row_group(group, ["song"])] == ["B", "A"]
    assert manifests.read(STEMS, ["song"])["song"].to_pylist() == ["B", "A"]
    assert len(list(manifests.rows(STEMS, ["song"], retired=True))) == 3
    moved = manifests.digest(STEMS)
    retire(manifests, "labelled", ("stems", "x", "train", "A"), reason=RETURNED, at=1)
    assert splits(manifests) == {("train", "A"), ("train", "B"), ("test", "A")}
    assert manifests.digest(STEMS) == whole
    retire(manifests, "labelled", ("stems", "x", "test", "A"), at=2)
    assert splits(manifests) == {("train", "A"), ("train", "B")}
    # the keys of the rows that are left are the same: which split they are in must show
    assert len({whole, moved, manifests.digest(STEMS)}) == 3


def test_what_another_process_retires_is_seen_by_the_next_reader(manifests: Manifests) -> None:
    write(manifests, STEMS, *songs(("x", "train", "A")))
    assert manifests.count(STEMS) == 1
    retire(Manifests(manifests.workspace), "labelled", ("stems", "x", "train", "A"))
    assert Manifests(manifests.workspace).count(STEMS) == 0


def test_joined_parts_keep_what_is_retired(manifests: Manifests) -> None:
    write(manifests, STEMS, *songs(("x", "train", "A")))
    write(manifests, STEMS, *songs(("y", "train", "A")))
    retire(manifests, "labelled", ("stems", "x", "train", "A"))
    compact(manifests, STEMS)
    assert manifests.count(STEMS) == 1
    assert len(list(manifests.rows(STEMS, ["song"], retired=True))) == 2


MADE = ("scores", "segments", "remixes")


def test_what_was_made_of_a_track_goes_with_it(manifests: Manifests) -> None:
    for table in ("tracks", *MADE):
        partition = Partition(table, "music", f"f{table}")
        write(manifests, partition, {"track_id": "bad"}, {"track_id": "good"})
    write(manifests, Partition("tracks", "more", "f1"), {"track_id": "bad"})
    retire(manifests, "music", ("tracks", "bad"), reason="labelled_test")
    for table in ("tracks", *MADE):
        partition = Partition(table, "music", f"f{table}")
        columns = [name for name in TABLES[table].schema.names if name != "track_id"][:1]
        assert [row["track_id"] for row in manifests.rows(partition)] == ["good"]
        assert len(list(manifests.rows(partition, columns))) == 1
        assert manifests.count(partition) == 1
    assert manifests.count(Partition("tracks", "more", "f1")) == 1


def stem(track_id: str) -> dict[str, Any]:
    return {"source": "bass", "track_id": track_id, "path": "", "track_num_samples": 0,
            "start_sample": 0, "num_samples": 0, "gain_db": 0.0, "tempo_ratio": None,
            "key_steps": None}  # fmt: skip


def test_no_recipe_adds_what_is_no_training_song_any_more(manifests: Manifests) -> None:
    remixes = Partition("remixes", "music", "f1")
    write(
        manifests,
        remixes,
        {"remix_id": "1", "track_id": "t", "added": [stem("y"), stem("x")]},
        {"remix_id": "2", "track_id": "t", "added": [stem("y")]},
        {"remix_id": "3", "track_id": "t"},
    )
    # of a song that has another name now, or is no test song any more, the audio may be heard
    retire(manifests, "labelled", ("stems", "y", "train", "A"), ("activity", "y", "test"))
    assert manifests.count(remixes) == 3
    retire(manifests, "labelled", ("activity", "x", "train"), at=1)
    assert [row["remix_id"] for row in manifests.rows(remixes, ["remix_id"])] == ["2", "3"]


def test_no_label_is_of_a_track_that_is_held_out(manifests: Manifests) -> None:
    labels = Partition("remixes", "music-pseudo", "f1")
    write(
        manifests,
        labels,
        {"remix_id": "1", "track_id": "t", "added": [stem("t")]},
        {"remix_id": "2", "track_id": "t", "added": [stem("u")]},
        {"remix_id": "3", "track_id": "v", "added": [stem("v")]},
    )
    retire(manifests, "music", ("tracks", "v"), reason="duplicate")
    assert manifests.count(labels) == 3, "its audio is in another corpus, and may be heard"
    retire(manifests, "music", ("tracks", "u"), reason="labelled_test", at=1)
    assert [row["remix_id"] for row in manifests.rows(labels, ["remix_id"])] == ["1", "3"]


@pytest.mark.parametrize("manifests", ["local"], indirect=True)
def test_sql_sees_what_readers_see(manifests: Manifests) -> None:
    write(manifests, STEMS, *songs(("x", "train", "A"), ("y", "train", "B"), ("x", "test", "A")))
    write(manifests, ACTIVITY, *({"track_id": "x", "split": s} for s in ("train", "test")))
    for table in ("tracks", "scores", "segments"):
        write(manifests, Partition(table, "music", "f1"), {"track_id": "bad"}, {"track_id": "t"})
    write(
        manifests,
        Partition("remixes", "music", "f1"),
        *({"track_id": track_id} for track_id in ("bad", "t")),
        {"track_id": "t", "added": [stem("x")]},
    )
    for song, corpus in (("x", "labelled"), ("y", "labelled"), ("x", "other")):
        write(manifests, Partition("evaluations", corpus, "f1"), {"track_id": song})
    names = ("stems", "activity", "tracks", "scores", "segments", "remixes", "evaluations")

    def counts(retired: bool) -> list[int]:
        with connect(manifests.workspace, retired=retired) as database:
            return [len(database.sql(f"FROM {name}").fetchall()) for name in names]

    everything = [3, 2, 2, 2, 2, 3, 3]
    assert counts(False) == everything
    retire(
        manifests, "labelled", ("stems", "x", "train", "A"), ("activity", "x", "train"),
        ("activity", "y", "test"), reason="moved",
    )  # fmt: skip
    retire(manifests, "music", ("tracks", "bad"))
    assert counts(True) == everything
    assert counts(False) == [2, 1, 1, 1, 1, 1, 2]
    for name, count in zip(names, counts(False), strict=True):
        read = sum(manifests.count(partition) for partition in manifests.partitions(name))
        assert read == count, name
