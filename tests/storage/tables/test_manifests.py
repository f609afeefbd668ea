from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from storage.damage import DamagedError
from storage.tables.edits import remove_replaced, remove_rows
from storage.tables.manifests import Manifests, Partition
from storage.tables.parts import ManifestError
from storage.tables.schemas import PARTITION_FIELDS, SCORES, TABLES
from storage.tables.sql import connect
from storage.workspace import Workspace
from tests.storage.tables.compacted import compact

REJECTS = Partition("rejects", "corpus", "f1")


def reject(item: str) -> dict[str, Any]:
    detail = f"{item} is broken"
    return {
        "stage": "ingest", "item": item, "source_bytes": 1, "reason": "corrupt", "detail": detail
    }  # fmt: skip


def run_row(outcome: str, started_at: datetime) -> dict[str, Any]:
    text = dict.fromkeys(
        ("stage", "flow_run_id", "parameters", "versions", "git_revision", "counts", "message"), ""
    )
    return {
        **text, "run_id": uuid.uuid4().hex, "started_at": started_at, "duration_s": 1.0,
        "outcome": outcome,
    }  # fmt: skip


def example(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [example(kind.value_type)] * 2
    if pa.types.is_struct(kind):
        return {kind.field(i).name: example(kind.field(i).type) for i in range(kind.num_fields)}
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_timestamp(kind):
        return datetime(2026, 1, 2, tzinfo=UTC)
    return "text" if pa.types.is_string(kind) else 3


def test_a_part_holds_the_names_of_its_items_once(workspace: Workspace) -> None:
    names = [f"item {number}" for number in range(10_000)]
    path = Manifests(workspace).write(REJECTS, names, [reject("item 1")])
    assert len(workspace.read(path)) < len(json.dumps(names)) + 10_000


def test_rows_come_back_as_written(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    for name, table in TABLES.items():
        row = {field: example(kind) for field, kind, _ in table.fields}
        partition = Partition(name, "corpus", "f1")
        manifests.write(partition, ["item"], [row, row])
        assert list(manifests.rows(partition)) == [row, row]
        assert manifests.count(partition) == 2


def test_every_field_is_described() -> None:
    for table in TABLES.values():
        assert set(table.key) <= set(table.schema.names)
        assert not set(PARTITION_FIELDS) & set(table.schema.names)
        for field in table.schema:
            assert len((field.metadata or {}).get(b"description", b"")) > 5, field.name


def test_writing_the_same_items_again_changes_nothing(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    first = manifests.write(REJECTS, ["b", "a"], [reject("a")])
    before = workspace.read(first)
    assert manifests.write(REJECTS, ["a", "b"], [reject("other")]) == first
    assert workspace.read(first) == before


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    content = []
    for name in ("one", "two"):
        workspace = Workspace(str(tmp_path / name), create=True)
        path = Manifests(workspace).write(REJECTS, ["a"], [reject("a")])
        content.append((path, workspace.read(path)))
    assert content[0] == content[1]


def test_items_without_rows_are_covered(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    manifests.write(REJECTS, ["a"], [reject("a")])
    manifests.write(REJECTS, ["b"], [])
    assert manifests.items(REJECTS) == {"a", "b"}
    assert manifests.count(REJECTS) == 1


@pytest.mark.parametrize("killed", [False, True])
def test_parts_that_were_joined_hold_the_same(workspace: Workspace, killed: bool) -> None:
    """Also where the parts they replace are there still: nothing is counted twice."""
    manifests = Manifests(workspace)
    for item in "abc":
        manifests.write(REJECTS, [item], [reject(item)])

    def content() -> tuple[object, ...]:
        rows = sorted(row["item"] for row in manifests.rows(REJECTS))
        return rows, manifests.items(REJECTS), manifests.digest(REJECTS), manifests.count(REJECTS)

    before = content()
    assert compact(manifests, REJECTS, killed=killed) == 3
    assert len(workspace.find(REJECTS.folder)) == (4 if killed else 1)
    assert len(manifests.parts(REJECTS)) == 1
    assert content() == before
    remove_replaced(manifests, REJECTS)
    assert len(workspace.find(REJECTS.folder)) == 1
    assert content() == before


def test_row_groups_cover_every_row_once(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    partition = Partition("scores", "corpus", "f1")
    row = {field: example(kind) for field, kind, _ in SCORES.fields}
    rows = [{**row, "track_id": f"t{index:03}"} for index in range(SCORES.rows_a_group + 5)]
    manifests.write(partition, ["all"], rows)
    groups = manifests.row_groups(partition)
    assert len(groups) == 2
    read = [r["track_id"] for group in groups for r in manifests.read_row_group(group)]
    assert read == [r["track_id"] for r in rows]
    assert manifests.read_row_group(groups[1], ["track_id"])[0] == {
        "track_id": f"t{SCORES.rows_a_group:03}"
    }


def test_the_latest_partition_is_that_of_the_last_completed_run(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    history = [("fa", "completed", 2), ("fb", "completed", 1), ("fc", "failed", 3)]
    for fingerprint, outcome, hours in history:
        manifests.write(Partition("tracks", "music", fingerprint), ["x"], [])
        runs = Partition("runs", "music", fingerprint)
        manifests.write(runs, ["x"], [run_row(outcome, now + timedelta(hours=hours))])
    assert manifests.latest("tracks", "music").fingerprint == "fa"
    assert manifests.latest("tracks", "music", "fc").fingerprint == "fc"
    with pytest.raises(ManifestError, match="no tracks of corpus 'music' with fingerprint fz"):
        manifests.latest("tracks", "music", "fz")
    with pytest.raises(ManifestError, match="there are some of music"):
        manifests.latest("tracks", "musik")
    with pytest.raises(ManifestError, match="no stage wrote segments yet"):
        manifests.latest("segments", "music")


def test_of_many_runs_the_last_are_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests, opened = Manifests(workspace), []
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for hours, fingerprint in enumerate(["fa", "fb", "fc"] * 3):
        if fingerprint != "fc":
            manifests.write(Partition("tracks", "music", fingerprint), ["x"], [])
        runs = Partition("runs", "music", fingerprint)
        manifests.write(runs, [str(hours)], [run_row("completed", now + timedelta(hours=hours))])
    open_part = Manifests._open

    def noted(self: Manifests, path: str) -> AbstractContextManager[pq.ParquetFile]:
        opened.append(path)
        return open_part(self, path)

    monkeypatch.setattr(Manifests, "_open", noted)
    assert manifests.latest("tracks", "music").fingerprint == "fb"
    assert len(opened) == 2


def test_a_schema_of_another_version_is_refused(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    path = manifests.write(REJECTS, ["a"], [reject("a")])
    table = pq.read_table(workspace.fs.open(workspace.resolve(path)), partitioning=None)
    metadata: Mapping[bytes, bytes] = {**table.schema.metadata, b"silentmix.version": b"99"}

    def write(file: Any) -> None:
        pq.write_table(table.replace_schema_metadata(dict(metadata)), file)

    workspace.remove(path)
    workspace.put(path, write)
    with pytest.raises(ManifestError, match=r"rejects of schema version 99, this silentmix knows"):
        list(manifests.rows(REJECTS))


GROWN = replace(
    TABLES["rejects"],
    fields=(
        *TABLES["rejects"].fields,
        ("licence", pa.string(), "Licence that the file names"),
        ("streams", pa.list_(pa.int64()), "Streams that were tried"),
    ),
    added={"licence": "it's unknown", "streams": [0, 1]},
)
"""``rejects`` as a later version could have it."""


def test_rows_of_before_have_the_defaults_of_columns_that_came_later(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = Manifests(workspace)
    manifests.write(REJECTS, ["a"], [reject("a")])
    monkeypatch.setitem(TABLES, "rejects", GROWN)
    old = {**reject("a"), "licence": "it's unknown", "streams": [0, 1]}
    new = {**reject("b"), "licence": "CC0", "streams": [2]}
    assert list(manifests.rows(REJECTS)) == [old]
    assert list(manifests.rows(REJECTS, ["licence"])) == [{"licence": "it's unknown"}]
    manifests.write(REJECTS, ["b"], [new])
    assert sorted(manifests.rows(REJECTS), key=lambda row: row["item"]) == [old, new]
    licences = manifests.read(REJECTS, ["licence"])["licence"]
    assert sorted(map(str, licences.to_pylist())) == ["CC0", "it's unknown"]
    groups = manifests.row_groups(REJECTS)
    found = [row for group in groups for row in manifests.read_row_group(group, ["streams"])]
    assert sorted(row["streams"] for row in found) == [[0, 1], [2]]
    forgotten = remove_rows(
        manifests,
        REJECTS,
        lambda batch: pc.equal(batch["licence"], pa.scalar("CC0")),
        {"b"},
        columns=["licence"],
    )
    assert forgotten == 1
    assert list(manifests.rows(REJECTS)) == [old]


@pytest.mark.parametrize("items", [["a"], ["b"], ["a", "b"]])
def test_sql_sees_the_defaults_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, items: list[str]
) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    if "a" in items:
        Manifests(workspace).write(REJECTS, ["a"], [reject("a")])
    monkeypatch.setitem(TABLES, "rejects", GROWN)
    if "b" in items:
        new = {**reject("b"), "licence": "CC0", "streams": [2]}
        Manifests(workspace).write(REJECTS, ["b"], [new])
    query = "SELECT item, licence, streams, corpus FROM rejects ORDER BY item"
    rows = {
        "a": ("a", "it's unknown", [0, 1], "corpus"),
        "b": ("b", "CC0", [2], "corpus"),
    }
    with connect(workspace) as database:
        assert database.sql(query).fetchall() == [rows[item] for item in items]


def test_a_column_without_a_default_can_not_be_missing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    Manifests(workspace).write(REJECTS, ["a"], [reject("a")])
    monkeypatch.setitem(TABLES, "rejects", replace(GROWN, added={"licence": ""}))
    with pytest.raises(DamagedError, match="rejects without the column 'streams'"):
        list(Manifests(workspace).rows(REJECTS))


def test_a_workspace_may_be_called_as_a_pattern_is(tmp_path: Path) -> None:
    """Of ``g[1]`` and ``g1`` each is itself."""
    for name in ("g1", "g[1]", "g*", "g?"):
        workspace = Workspace(str(tmp_path / name), create=True)
        Manifests(workspace).write(REJECTS, [name], [reject(name)])
    for name in ("g1", "g[1]", "g*", "g?"):
        manifests = Manifests(Workspace(str(tmp_path / name)))
        assert [row["item"] for row in manifests.rows(REJECTS)] == [name]
        assert manifests.items(REJECTS) == {name}
        assert manifests.partitions("rejects") == [REJECTS]
        with connect(manifests.workspace) as database:
            assert database.sql("SELECT item FROM rejects").fetchall() == [(name,)]


@pytest.mark.parametrize("name", ["", "2024", "a/b", "../x", "a b", "a=b", "-x"])
def test_a_corpus_name_is_a_folder_name(name: str) -> None:
    with pytest.raises(ManifestError, match="a name starts with a letter"):
        Partition("tracks", name, "f1")


def test_an_unknown_table_is_named(workspace: Workspace) -> None:
    with pytest.raises(ManifestError, match="no manifest 'songs'; there are tracks"):
        Manifests(workspace).partitions("songs")


def test_other_programs_read_the_manifests_as_they_are(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    manifests = Manifests(workspace)
    for name, table in TABLES.items():
        row = {field: example(kind) for field, kind, _ in table.fields}
        manifests.write(Partition(name, "corpus", "f1"), ["item"], [row])
        folder = workspace.url(f"manifests/{name}")
        files = f"{folder}/**/*.parquet"
        columns = {*table.schema.names, *PARTITION_FIELDS}
        assert set(pd.read_parquet(folder).columns) == columns
        assert set(pl.read_parquet(files, hive_partitioning=True).columns) == columns
        found = duckdb.sql(f"SELECT * FROM read_parquet('{files}', hive_partitioning = true)")
        assert found is not None
        assert set(found.columns) == columns
        assert len(found.fetchall()) == 1
