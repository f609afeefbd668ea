"""What is damaged is named, with the way out, and never read as something else."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.fuzzing.tables import row
from storage.damage import DamagedError
from storage.errors import UserError
from storage.tables.edits import remove_rows
from storage.tables.manifests import Manifests, Partition, RowGroup
from storage.tables.parts import ITEMS as ITEMS_KEY
from storage.tables.schemas import TABLES
from storage.tables.sql import reading
from storage.workspace import Workspace, WorkspaceError
from tests.storage.tables.test_manifests import REJECTS, reject

ITEMS = [f"item {number}" for number in range(2000)]
NESTED = b"[" * 100_000


def written(workspace: Workspace) -> tuple[str, bytes]:
    rows = [reject(item) for item in ITEMS]
    path = Manifests(workspace).write(REJECTS, ITEMS, rows)
    return path, workspace.read(path)


READERS: dict[str, Callable[[Manifests], object]] = {
    "rows": lambda manifests: list(manifests.rows(REJECTS)),
    "items": lambda manifests: manifests.items(REJECTS),
    "count": lambda manifests: manifests.count(REJECTS),
    "row groups": lambda manifests: manifests.row_groups(REJECTS),
    "within": lambda manifests: manifests.within(REJECTS, set(ITEMS)),
    "forget": lambda manifests: remove_rows(
        manifests, REJECTS, lambda batch: batch["item"].is_null(), {"a"}, columns=["item"]
    ),
}


@pytest.mark.parametrize("content", [b"", b"PAR", b"no Parquet at all", None])
def test_a_part_that_broke_off_is_named(workspace: Workspace, content: bytes | None) -> None:
    path, whole = written(workspace)
    workspace.put_bytes(path, whole[: len(whole) // 2] if content is None else content)
    for name, read in READERS.items():
        with pytest.raises(DamagedError, match=r"part-.*: damaged .*silentmix fsck") as caught:
            read(Manifests(workspace))
        assert workspace.url(path) in str(caught.value), name


def by_sql(workspace: Workspace) -> dict[str, str]:
    """What SQL reads of the rejects: items and details."""
    with reading(workspace, [REJECTS.table]) as database:
        return dict(database.sql("SELECT item, detail FROM rejects").fetchall())


def test_one_bit_of_the_rows_is_noticed(workspace: Workspace) -> None:
    """At random places: what is read is what was written, or else the part is refused by name."""
    path, whole = written(workspace)
    rows, items = [reject(item) for item in ITEMS], set(ITEMS)
    start = whole.index(b"PAR1") + 4
    stop = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    draws, refused = random.Random(0), []
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[draws.randrange(start, stop)] ^= 1 << draws.randrange(8)
        workspace.put_bytes(path, bytes(flipped))
        manifests = Manifests(workspace)
        try:
            assert list(manifests.rows(REJECTS)) == rows
            assert manifests.read_row_group(RowGroup(path, 0)) == rows
            assert manifests.items(REJECTS) == items
            assert by_sql(workspace) == {row["item"]: row["detail"] for row in rows}
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 40
    assert all(workspace.url(path) in message for message in refused)


def test_one_bit_of_what_tells_where_rows_are_is_noticed(workspace: Workspace) -> None:
    """Parquet has no checksum of its footer, one bit of which can make other rows."""
    rows, items = [reject("a"), reject("b")], {"a", "b"}
    path = Manifests(workspace).write(REJECTS, items, rows)
    whole = workspace.read(path)
    draws, num_refused = random.Random(0), 0
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    places = draws.sample(range(start, len(whole)), 300)
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draws.randrange(8)
        workspace.put_bytes(path, bytes(flipped))
        manifests = Manifests(workspace)
        try:
            assert list(manifests.rows(REJECTS)) == rows, place
            assert manifests.read_row_group(RowGroup(path, 0)) == rows, place
            assert manifests.items(REJECTS) == items, place
        except DamagedError:
            num_refused += 1
        with pytest.raises(DamagedError, match=re.escape(workspace.url(path))):
            by_sql(workspace)
    assert num_refused == len(places)


def test_one_bit_of_what_stands_before_a_page_is_noticed(workspace: Workspace) -> None:
    """A page's header has no checksum of Parquet's: with another count in it, rows are gone."""
    rows = [{**reject("a"), "detail": "x" * 50}, reject("b")]
    path = Manifests(workspace).write(REJECTS, {"a", "b"}, rows)
    whole = workspace.read(path)
    first = pq.read_metadata(pa.BufferReader(whole)).row_group(0).column(0)
    start = first.dictionary_page_offset or first.data_page_offset
    for place in range(start, start + 30):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            workspace.put_bytes(path, bytes(flipped))
            manifests = Manifests(workspace)
            named = pytest.raises(DamagedError, match=re.escape(workspace.url(path)))
            with named:
                list(manifests.rows(REJECTS))
            with named:
                manifests.read_row_group(RowGroup(path, 0))
            with named:
                by_sql(workspace)
            assert manifests.items(REJECTS) == {"a", "b"}


def test_each_row_group_is_looked_at_as_it_is_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLES, "rejects", replace(TABLES["rejects"], rows_a_group=1))
    path = Manifests(workspace).write(REJECTS, {"a", "b"}, [reject("a"), reject("b")])
    content = bytearray(workspace.read(path))
    group = pq.read_metadata(pa.BufferReader(content)).row_group(1).column(0)
    content[group.data_page_offset + 2] ^= 1
    workspace.put_bytes(path, bytes(content))
    manifests = Manifests(workspace)
    assert manifests.read_row_group(RowGroup(path, 0)) == [reject("a")]
    with pytest.raises(DamagedError, match=r"is not what was written \(row group 1\)"):
        manifests.read_row_group(RowGroup(path, 1))


@pytest.mark.parametrize("num_items", [1, 20_000])
def test_a_part_with_a_sealed_end_is_parquet_for_others(
    workspace: Workspace, num_items: int
) -> None:
    """Also where the end is longer than what is read of it at first."""
    items = [f"item {number}" for number in range(num_items)]
    path = Manifests(workspace).write(REJECTS, items, [reject("a")])
    content = pa.BufferReader(workspace.read(path))
    assert pq.read_table(content)["item"].to_pylist() == ["a"]
    assert Manifests(workspace).items(REJECTS) == set(items)


def test_a_part_of_before_checksums_is_read(workspace: Workspace) -> None:
    path, _ = written(workspace)
    rows = list(Manifests(workspace).rows(REJECTS))
    with workspace.fs.open(workspace.resolve(path), "rb") as file:
        table = pq.read_table(file)
    workspace.put(path, lambda file: pq.write_table(table, file))
    assert list(Manifests(workspace).rows(REJECTS)) == rows


def test_a_part_of_too_many_rows_at_once_is_refused(workspace: Workspace) -> None:
    path, _ = written(workspace)
    with workspace.fs.open(workspace.resolve(path), "rb") as file:
        row = pq.read_table(file).slice(0, 1)
    table = pa.concat_tables([row] * (2**17 + 1)).combine_chunks()
    workspace.put(path, lambda file: pq.write_table(table, file))
    with pytest.raises(DamagedError, match="a row group of more than 131072 rows"):
        list(Manifests(workspace).rows(REJECTS))


@pytest.mark.parametrize("names", [b"{}", b"[1]", b'["a"', b"\xff"])
def test_names_of_items_that_are_no_names(workspace: Workspace, names: bytes) -> None:
    path, _ = written(workspace)
    with workspace.fs.open(workspace.resolve(path), "rb") as file:
        table = pq.read_table(file)
    told = table.replace_schema_metadata({**table.schema.metadata, ITEMS_KEY: names})
    workspace.put(path, lambda file: pq.write_table(told, file))
    with pytest.raises(DamagedError, match=r"part-.*: damaged"):
        Manifests(workspace).items(REJECTS)


@pytest.mark.parametrize("content", [b"", b'{"format": 1', b"\xff\xfe", NESTED])
def test_json_that_is_none_is_named(workspace: Workspace, content: bytes) -> None:
    workspace.put_bytes("models/a/config.json", content)
    with pytest.raises(DamagedError, match=r"config.json: damaged"):
        workspace.read_json("models/a/config.json")
    workspace.put_bytes("workspace.json", content)
    with pytest.raises(WorkspaceError, match=r"workspace\.json is not what silentmix writes"):
        Workspace(workspace.location)


def restated(workspace: Workspace, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a part anew, as somebody else might have, with sound checksums."""
    path, _ = written(workspace)
    with workspace.fs.open(workspace.resolve(path), "rb") as file:
        table = pq.read_table(file)
    changed = change(table).replace_schema_metadata(table.schema.metadata)
    workspace.put(path, lambda file: pq.write_table(changed, file))


def without_values(table: pa.Table) -> pa.Table:
    return table.set_column(3, "reason", pa.nulls(len(table), pa.string()))


def as_other_type(table: pa.Table) -> pa.Table:
    return table.set_column(2, "source_bytes", table["source_bytes"].cast(pa.string()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_values, "damaged .rejects without a value of reason"),
        (as_other_type, "rejects with the column 'source_bytes' as string, not int64"),
    ],
)
def test_a_part_of_other_values_is_refused(
    workspace: Workspace, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    """Found by ``benchmarks.fuzz``: what had no value, or one of another type, was handed on."""
    restated(workspace, change)
    for read in (READERS["rows"], READERS["row groups"]):
        if change is without_values and read is READERS["row groups"]:
            continue  # which reads no values
        with pytest.raises(UserError, match=said):
            read(Manifests(workspace))


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (pa.scalar(2**62, pa.timestamp("us", "UTC")), "with a decided_at of no year"),
        (pa.scalar(0, pa.timestamp("ms", "UTC")), "the column 'decided_at' as timestamp.ms"),
    ],
)
def test_a_time_that_is_none_is_refused(
    workspace: Workspace, time: pa.Scalar[Any], said: str
) -> None:
    """Found by ``benchmarks.fuzz``: it ended whatever read it in an OverflowError."""
    partition = Partition("retired", "music", "f")
    path = Manifests(workspace).write(partition, ["a"], [row("retired", 1)])
    with workspace.fs.open(workspace.resolve(path), "rb") as file:
        table = pq.read_table(file)
    place = table.schema.get_field_index("decided_at")
    changed = table.set_column(place, "decided_at", pa.array([time]))
    workspace.put(path, lambda file: pq.write_table(changed, file))
    with pytest.raises(DamagedError, match=said):
        list(Manifests(workspace).rows(partition))


@pytest.mark.parametrize(
    "instead", [os.mkfifo, lambda path: path.symlink_to(path.name)], ids=["pipe", "loop"]
)
def test_what_is_no_file_is_damage(tmp_path: Path, instead: Callable[[Path], object]) -> None:
    """A pipe keeps whoever opens it waiting for ever."""
    workspace = Workspace(str(tmp_path / "workspace"), create=True)
    manifests = Manifests(workspace)
    manifests.write(REJECTS, ["a.mp3"], [reject("a.mp3")])
    (part,) = manifests.parts(REJECTS)
    workspace.put_json("models/m/config.json", {})
    for path in (part, "models/m/config.json"):
        Path(workspace.resolve(path)).unlink()
        instead(Path(workspace.resolve(path)))
    with pytest.raises(DamagedError, match=re.escape(part)):
        list(manifests.rows(REJECTS))
    with pytest.raises(DamagedError, match=re.escape(part)), reading(workspace) as database:
        database.sql("SELECT * FROM rejects").fetchall()
    with pytest.raises(DamagedError, match=r"config\.json"):
        workspace.read_json("models/m/config.json")
