"""Taking rows out of parts: whole before and after, and nothing else is touched."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.tables.edits import remove_rows
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.storage.tables.compacted import compact
from tests.storage.tables.test_manifests import REJECTS, reject


def is_b(batch: pa.RecordBatch) -> pa.BooleanArray:
    return pc.equal(batch["item"], pa.scalar("b"))


def forget_b(manifests: Manifests, *, dry_run: bool = False) -> int:
    return remove_rows(manifests, REJECTS, is_b, {"b"}, columns=["item"], dry_run=dry_run)


def test_rows_and_items_go_and_the_rest_stays(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    mixed = manifests.write(REJECTS, ["a", "b"], [reject("a"), reject("b")])
    other = manifests.write(REJECTS, ["c"], [reject("c")])
    empty = manifests.write(REJECTS, ["d", "e"], [])
    untouched = {path: workspace.read(path) for path in (other, empty)}
    before = workspace.read(mixed)
    assert forget_b(manifests, dry_run=True) == 1
    assert workspace.read(mixed) == before
    assert forget_b(manifests) == 1
    assert list(manifests.rows(REJECTS)) == [
        row for path in manifests.parts(REJECTS) for row in ([reject("a")] if path == mixed else
        [reject("c")] if path == other else [])
    ]  # fmt: skip
    assert manifests.items(REJECTS) == {"a", "c", "d", "e"}
    assert manifests.parts(REJECTS) == sorted([mixed, other, empty])
    assert {path: workspace.read(path) for path in untouched} == untouched
    assert forget_b(manifests) == 0


def test_a_part_of_which_nothing_is_left_can_still_be_read(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    manifests.write(REJECTS, ["b"], [reject("b")])
    assert forget_b(manifests) == 1
    assert (list(manifests.rows(REJECTS)), manifests.items(REJECTS)) == ([], set())
    assert manifests.count(REJECTS) == 0


def test_what_was_forgotten_can_be_covered_again(workspace: Workspace) -> None:
    """By the very call that wrote it first, and once."""
    manifests = Manifests(workspace)
    manifests.write(REJECTS, ["a", "b"], [reject("a"), reject("b")])
    forget_b(manifests)
    for _ in range(2):
        manifests.write(REJECTS, ["b"], [])
        manifests.write(REJECTS, ["b"], [reject("b")])
    assert manifests.items(REJECTS) == {"a", "b"}
    remove_rows(
        manifests, REJECTS, lambda batch: pc.is_valid(batch["item"]), {*"ab"}, columns=["item"]
    )
    assert manifests.items(REJECTS) == set()
    for _ in range(2):
        manifests.write(REJECTS, ["a", "b"], [reject("a"), reject("b")])
    assert manifests.items(REJECTS) == {"a", "b"}
    assert [row["item"] for row in manifests.rows(REJECTS)] == ["a", "b"]


def test_joined_parts_and_what_a_killed_compaction_left(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    for item in "abc":
        manifests.write(REJECTS, [item], [reject(item)])
    compact(manifests, REJECTS, killed=True)
    assert len(workspace.find(REJECTS.folder)) == 4
    assert forget_b(manifests) == 1
    assert len(workspace.find(REJECTS.folder)) == 4
    for part in workspace.find(REJECTS.folder):
        with pq.ParquetFile(pa.BufferReader(workspace.read(part))) as file:
            assert "b" not in file.read()["item"].to_pylist()
    assert sorted(row["item"] for row in manifests.rows(REJECTS)) == ["a", "c"]


def test_parts_within_some_items(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    ab = manifests.write(REJECTS, ["a", "b"], [reject("a")])
    c = manifests.write(REJECTS, ["c"], [reject("c")])
    assert manifests.within(REJECTS, {"a", "c"}) == {c: {"c"}}
    assert manifests.within(REJECTS, {"a", "b", "c"}) == {ab: {"a", "b"}, c: {"c"}}
