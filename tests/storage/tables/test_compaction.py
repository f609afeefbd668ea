"""Parts that are joined: nothing is lost or seen twice, whatever happens in between."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from storage.damage import DamagedError
from storage.tables import compaction
from storage.tables.compaction import (
    BOUNDS,
    FEWEST,
    Bounds,
    OvertakenError,
    join,
    outlived,
    remove_outlived,
    to_join,
)
from storage.tables.edits import correct_rows, remove_parts, remove_replaced, remove_rows
from storage.tables.joined import is_joined
from storage.tables.manifests import Manifests, Partition
from storage.tables.parts import schema_of_part, write_parquet
from storage.tables.runs import lost_parts, parts_left
from storage.tables.schemas import REMIXES, STEPS, TABLES
from storage.tables.sql import reading
from storage.workspace import Workspace
from tests.storage.s3_server import s3_bucket
from tests.storage.tables.compacted import compact as compact_as_before
from tests.storage.tables.test_manifests import REJECTS, example, reject, run_row

NAMES = [f"n{number:03}" for number in range(24)]


def write(manifests: Manifests, names: list[str] = NAMES) -> list[str]:
    """A part a name, each with a row of it and of a second one; every third has none."""
    return [
        manifests.write(
            REJECTS,
            [name, f"{name}/2"],
            [] if int(name[1:]) % 3 == 0 else [reject(name), reject(f"{name}/2")],
        )
        for name in names
    ]


def content(workspace: Workspace) -> tuple[object, ...]:
    """All that readers see, from a new look; each row once, or it would count twice."""
    manifests = Manifests(workspace)
    rows = Counter(row["detail"] for row in manifests.rows(REJECTS))
    with reading(workspace, ["rejects"]) as database:
        told = Counter(detail for [detail] in database.sql("SELECT detail FROM rejects").fetchall())
    assert rows == told
    groups = [manifests.read_row_group(group) for group in manifests.row_groups(REJECTS)]
    assert rows == Counter(row["detail"] for group in groups for row in group)
    return (
        rows, manifests.items(REJECTS), manifests.digest(REJECTS), manifests.count(REJECTS),
        manifests.num_written(REJECTS), manifests.within(REJECTS, {*NAMES[:12]}).keys(),
        {*map(frozenset, manifests.within(REJECTS, manifests.items(REJECTS)).values())},
    )  # fmt: skip


def compact(workspace: Workspace, bounds: Bounds = BOUNDS) -> list[str]:
    """Join what there is to join, as the flow does."""
    manifests = Manifests(workspace)
    return [join(manifests, REJECTS, pack) for pack in to_join(manifests, REJECTS, bounds)]


def remove(workspace: Workspace) -> list[str]:
    """Remove what was joined, as the flow does a day later."""
    manifests = Manifests(workspace)
    return [
        path for found in outlived(manifests, REJECTS) for path in remove_outlived(manifests, found)
    ]


def on_disk(workspace: Workspace) -> list[str]:
    return workspace.find(REJECTS.folder)


def test_what_is_joined_holds_the_same(workspace: Workspace) -> None:
    parts = write(Manifests(workspace))
    before = content(workspace)
    [joined] = compact(workspace)
    assert Manifests(workspace).parts(REJECTS) == [joined]
    assert content(workspace) == before
    assert {*on_disk(workspace)} == {joined, *parts}
    assert not compact(workspace)
    assert sorted(remove(workspace)) == sorted(parts)
    assert on_disk(workspace) == [joined]
    assert content(workspace) == before
    with pq.ParquetFile(pa.BufferReader(workspace.read(joined))) as file:
        assert file.metadata.num_row_groups == 1


def test_other_programs_read_what_was_joined(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    write(Manifests(workspace))
    compact(workspace)
    remove(workspace)
    folder = workspace.url("manifests/rejects")
    files = f"{folder}/**/*.parquet"
    found = duckdb.sql(
        f"SELECT corpus, item FROM read_parquet('{files}', hive_partitioning = true)"
    )
    assert found is not None
    rows = [("corpus", row["item"]) for row in Manifests(workspace).rows(REJECTS)]
    assert sorted(found.fetchall()) == sorted(rows)
    by_pandas = pd.read_parquet(folder)[["corpus", "item"]]
    assert sorted(by_pandas.itertuples(index=False, name=None)) == sorted(rows)


@pytest.mark.parametrize("told", [b"{}1", b"[1]", b"[[2, -1]]", b"[[0, 0]]"])
def test_numbers_of_spans_that_are_none(workspace: Workspace, told: bytes) -> None:
    write(Manifests(workspace))
    [joined] = compact(workspace)
    with pq.ParquetFile(pa.BufferReader(workspace.read(joined))) as file:
        rows = file.read()
    metadata = {**rows.schema.metadata, b"silentmix.spans": told}
    rows = rows.replace_schema_metadata(metadata)
    workspace.put(joined, lambda out: write_parquet("rejects", [rows], out))
    with pytest.raises(DamagedError, match=r"silentmix\.spans|was joined of"):
        Manifests(workspace).within(REJECTS, set())


@pytest.mark.s3
def test_on_s3() -> None:
    with s3_bucket() as url:
        workspace = Workspace(f"{url}/results", create=True)
        parts = write(Manifests(workspace), NAMES[:FEWEST])
        before = content(workspace)
        [joined] = compact(workspace)
        [found] = outlived(Manifests(workspace), REJECTS)
        assert abs((datetime.now(UTC) - found.written_at).total_seconds()) < 3600
        assert content(workspace) == before
        assert sorted(remove(workspace)) == sorted(parts)
        assert on_disk(workspace) == [joined]
        assert content(workspace) == before


def test_few_parts_are_left_as_they_are(workspace: Workspace) -> None:
    write(Manifests(workspace), NAMES[: FEWEST - 1])
    assert not compact(workspace)
    write(Manifests(workspace), NAMES[:FEWEST])
    assert len(compact(workspace)) == 1


def test_joined_parts_are_joined_again_and_what_they_replaced_goes(workspace: Workspace) -> None:
    """A joined part is of another tier, and waits there for others of its size."""
    for start in range(0, FEWEST * FEWEST, FEWEST):
        names = [f"n{number:03}" for number in range(start, start + FEWEST)]
        write(Manifests(workspace), names)
        compact(workspace)
    seen = Manifests(workspace).parts(REJECTS)
    assert [*map(is_joined, seen)] == [True] * FEWEST
    before = content(workspace)
    bounds = replace(BOUNDS, name_bytes=BOUNDS.name_bytes // 8)
    [joined] = compact(workspace, bounds)
    assert content(workspace) == before
    assert len(on_disk(workspace)) == FEWEST * FEWEST + FEWEST + 1
    remove(workspace)
    assert on_disk(workspace) == [joined]
    assert content(workspace) == before


class KilledError(Exception):
    pass


@pytest.fixture
def killed_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the next run of a compaction end after so many steps that change the workspace."""
    left = [math.inf]

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            if not left[0]:
                raise KilledError
            left[0] -= 1
            return step(*arguments)

        return run

    monkeypatch.setattr(Workspace, "put", counted(Workspace.put))
    monkeypatch.setattr(Workspace, "remove", counted(Workspace.remove))

    def set_left(steps: float) -> None:
        left[0] = steps

    return set_left


@pytest.mark.parametrize("steps", [0, 1, 2, FEWEST])
def test_killed_between_any_two_steps(
    workspace: Workspace, steps: int, killed_after: Callable[[float], None]
) -> None:
    """A part is put, then each that it replaces is removed."""
    write(Manifests(workspace), NAMES[:FEWEST])
    before = content(workspace)
    killed_after(steps)
    with pytest.raises(KilledError):
        remove(workspace) if compact(workspace) else None
    killed_after(math.inf)
    assert len(on_disk(workspace)) == FEWEST + min(steps, 1) - max(steps - 1, 0)
    assert content(workspace) == before
    compact(workspace)
    remove(workspace)
    assert content(workspace) == before
    assert len(on_disk(workspace)) == 1


def test_killed_while_one_is_taken_out_of_a_joined_part(
    workspace: Workspace, killed_after: Callable[[float], None]
) -> None:
    """It is there or it is not, and nothing else is."""
    write(Manifests(workspace), NAMES[:FEWEST])
    compact(workspace)
    steps = 0
    while steps < 100:
        [gone] = Manifests(workspace).within(REJECTS, {"n004", "n004/2"})
        items = Manifests(workspace).items(REJECTS)
        killed_after(steps)
        try:
            remove_parts(Manifests(workspace), REJECTS, [gone])
        except KilledError:
            killed_after(math.inf)
            left = items - Manifests(workspace).items(REJECTS)
            assert left in ({"n004", "n004/2"}, set())
            write(Manifests(workspace), NAMES[:FEWEST])
            assert Manifests(workspace).count(REJECTS) == 20
            steps += 1
        else:
            break
    assert steps
    assert content(workspace)[4] == FEWEST - 1


def test_who_listed_before_goes_on(workspace: Workspace) -> None:
    write(Manifests(workspace))
    manifests = Manifests(workspace)
    groups = manifests.row_groups(REJECTS)
    rows = manifests.rows(REJECTS)
    some = [next(rows)]
    compact(workspace)
    assert len([*some, *rows]) == manifests.count(REJECTS)
    read = [row for group in groups for row in manifests.read_row_group(group)]
    assert len(read) == manifests.count(REJECTS)


@pytest.mark.parametrize("gone", [[], [f"{REJECTS.folder}/joined/compact-gone.parquet"]])
def test_what_comes_and_goes_while_parts_are_listed(
    workspace: Workspace, gone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that was just written is not taken for replaced, nor is one missed that went."""
    write(Manifests(workspace))
    [joined] = compact(workspace)
    find, late = Workspace.find, list[str]()

    def listed(self: Workspace, folder: str) -> list[str]:
        found = find(self, folder)
        if not late:
            late.append("")
            late[0] = Manifests(workspace).write(REJECTS, ["late"], [reject("late")])
            found += gone
        return found

    monkeypatch.setattr(Workspace, "find", listed)
    remove_replaced(Manifests(workspace), REJECTS)
    assert on_disk(workspace) == sorted([joined, *late])


def is_seven(batch: pa.RecordBatch) -> pa.BooleanArray:
    return pc.equal(batch["item"], pa.scalar("n007"))


@pytest.mark.parametrize("removed", [False, True])
def test_what_is_forgotten_is_on_no_disk(workspace: Workspace, removed: bool) -> None:
    write(Manifests(workspace))
    compact(workspace)
    if removed:
        remove(workspace)
    num_files = len(on_disk(workspace))

    def forget(*, dry_run: bool = False) -> int:
        manifests = Manifests(workspace)
        return remove_rows(
            manifests, REJECTS, is_seven, {"n007"}, columns=["item"], dry_run=dry_run
        )

    assert forget(dry_run=True) == 1
    assert forget() == 1
    assert len(on_disk(workspace)) == num_files
    for path in on_disk(workspace):
        with pq.ParquetFile(pa.BufferReader(workspace.read(path))) as file:
            assert "n007" not in file.read()["item"].to_pylist()
            assert b'"n007"' not in file.schema_arrow.metadata[b"silentmix.items"]
    after = content(workspace)
    assert (after[3], after[4]) == (2 * 16 - 1, 24)
    remove(workspace)
    assert len(on_disk(workspace)) == 1
    assert content(workspace) == after
    Manifests(workspace).write(REJECTS, ["n007"], [reject("n007")])
    Manifests(workspace).write(REJECTS, ["n007"], [reject("n007")])
    assert Manifests(workspace).count(REJECTS) == 2 * 16


@pytest.mark.parametrize("removed", [False, True])
def test_what_is_corrected_is_so_in_all_that_holds_it(workspace: Workspace, removed: bool) -> None:
    write(Manifests(workspace))
    compact(workspace)
    if removed:
        remove(workspace)
    before, files = content(workspace), on_disk(workspace)

    def corrected(batch: pa.RecordBatch) -> pa.RecordBatch:
        details = pc.if_else(is_seven(batch), "mended", batch["detail"])
        place = batch.schema.get_field_index("detail")
        return batch.set_column(place, batch.schema.field("detail"), details)

    correct_rows(Manifests(workspace), REJECTS, is_seven, corrected, columns=["item"])
    assert on_disk(workspace) == files
    after = content(workspace)
    old, new = (rows for rows, *_ in (before, after) if isinstance(rows, Counter))
    assert new - old == Counter(mended=1)
    assert old - new == Counter([reject("n007")["detail"]])
    assert after[1:] == before[1:]
    for path in on_disk(workspace):
        with pq.ParquetFile(pa.BufferReader(workspace.read(path))) as file:
            rows = file.read().to_pylist()
        assert {row["detail"] for row in rows if row["item"] == "n007"} <= {"mended"}
    remove(workspace)
    assert content(workspace) == after


@pytest.mark.parametrize("removed", [False, True])
def test_what_was_joined_is_not_written_again(workspace: Workspace, removed: bool) -> None:
    write(Manifests(workspace))
    before = content(workspace)
    compact(workspace)
    if removed:
        remove(workspace)
    write(Manifests(workspace))
    assert content(workspace) == before


@pytest.mark.parametrize("removed", [False, True])
def test_one_is_taken_out_of_a_joined_part(workspace: Workspace, removed: bool) -> None:
    """As if it lay there by itself; and it can be written anew."""
    write(Manifests(workspace))
    before = content(workspace)
    compact(workspace)
    if removed:
        remove(workspace)
    for _ in range(2):
        manifests = Manifests(workspace)
        gone = manifests.within(REJECTS, {"n004", "n004/2", "n005"})
        assert [*gone.values()] == [{"n004", "n004/2"}]
        remove_parts(manifests, REJECTS, gone)
        assert manifests.items(REJECTS) == before[1] - {"n004", "n004/2"}  # type: ignore[operator]
        assert content(workspace)[4] == 23
        assert len(on_disk(workspace)) == 1
        write(manifests)
        assert content(workspace) == before
        join(manifests, REJECTS, manifests.parts(REJECTS))
    manifests = Manifests(workspace)
    remove_parts(manifests, REJECTS, manifests.within(REJECTS, manifests.items(REJECTS)))
    assert not on_disk(workspace)


def test_a_joined_part_that_is_deleted_is_missed(workspace: Workspace) -> None:
    manifests, runs = Manifests(workspace), Partition("runs", "corpus", "f1")
    write(manifests)

    def missed() -> list[str]:
        return [lost for _, lost in lost_parts(Manifests(workspace), runs)]

    [count] = parts_left(manifests, runs, [REJECTS]).values()
    row = run_row("completed", datetime.now(UTC))
    counts = f'{{"parts_of_rejects": {count:g}}}'
    manifests.write(runs, ["a"], [{**row, "stage": "score", "counts": counts}])
    [joined] = compact(workspace)
    assert not missed()
    remove(workspace)
    assert not missed()
    workspace.remove(joined)
    assert missed() == ["24 of 24 parts that score left there are missing"]


def test_two_that_joined_some_of_the_same_parts(workspace: Workspace) -> None:
    """Neither knew of the other: each row is seen once, and all are."""
    parts = sorted(write(Manifests(workspace)))
    before = content(workspace)
    first = Manifests(workspace)
    other: list[str] = []

    def meanwhile() -> bool:
        if not other:
            other.append("")
            other[0] = join(Manifests(workspace), REJECTS, parts[7:23])
        return True

    with pytest.raises(OvertakenError, match="somebody writes there"):
        join(first, REJECTS, parts[:12], meanwhile)
    assert content(workspace) == before
    content_of_other = workspace.read(other[0])
    workspace.remove(other[0])
    join(first, REJECTS, parts[:12])
    workspace.put_bytes(other[0], content_of_other)
    assert content(workspace) == before
    remove(workspace)
    assert content(workspace) == before
    compact(workspace)
    assert content(workspace) == before


def test_it_ends_where_somebody_else_writes(workspace: Workspace) -> None:
    write(Manifests(workspace))
    before, files = content(workspace), on_disk(workspace)
    with pytest.raises(OvertakenError):
        join(Manifests(workspace), REJECTS, files, lambda: False)
    turns = iter([True, True, False])  # written, compared, and then
    with pytest.raises(OvertakenError):
        join(Manifests(workspace), REJECTS, files, lambda: next(turns))
    assert on_disk(workspace) == files
    assert content(workspace) == before


def _other_row(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for table in tables:
        details = table["detail"].to_pylist()
        yield table.set_column(4, table.schema.field(4), pa.array([*details[:-1], "other"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_row, "not the rows that were to be written"),
        (lambda tables: (table.slice(1) for table in tables), "not the rows"),
    ],
)
def test_one_that_is_not_the_same_is_never_seen(
    workspace: Workspace,
    change: Callable[[Iterator[pa.Table]], Iterator[pa.Table]],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(Manifests(workspace))
    before, files = content(workspace), on_disk(workspace)

    def wrong(name: str, tables: Iterator[pa.Table], *rest: Any) -> None:
        write_parquet(name, change(tables), *rest)

    monkeypatch.setattr(compaction, "write_parquet", wrong)
    with pytest.raises(DamagedError, match=said):
        compact(workspace)
    assert on_disk(workspace) == files
    assert content(workspace) == before


def test_a_joined_part_that_is_damaged_removes_nothing(workspace: Workspace) -> None:
    """And where it is put away, what it replaced is seen again."""
    write(Manifests(workspace))
    before = content(workspace)
    [joined] = compact(workspace)
    whole = bytearray(workspace.read(joined))
    whole[100] ^= 1
    workspace.put_bytes(joined, bytes(whole))
    files = on_disk(workspace)
    with pytest.raises(DamagedError):
        remove(workspace)
    assert on_disk(workspace) == files
    workspace.remove(joined)
    assert content(workspace) == before


def test_what_a_joined_part_does_not_hold_as_it_is_stays(workspace: Workspace) -> None:
    write(Manifests(workspace))
    [_, *rest] = parts = sorted(write(Manifests(workspace)))
    compact(workspace)
    workspace.put_bytes(parts[0], workspace.read(parts[1]))
    assert sorted(remove(workspace)) == rest


def test_no_number_and_nothing_are_the_same_as_themselves(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    steps, remixes = Partition("steps", "corpus", "f1"), Partition("remixes", "corpus", "f1")
    step = {name: example(kind) for name, kind, _ in STEPS.fields} | {"weak_loss": math.nan}
    remix = {name: example(kind) for name, kind, _ in REMIXES.fields}
    nothing = [dict.fromkeys(stem) | {"source": "bass"} for stem in remix["added"]]
    for partition, row in ((steps, step), (remixes, remix), (remixes, {**remix, "added": nothing})):
        for number in range(FEWEST):
            manifests.write(partition, [f"{number} {row}"], [row])
    for partition in (steps, remixes):
        before = [str(row) for row in manifests.rows(partition)]
        [pack] = to_join(manifests, partition)
        join(manifests, partition, pack)
        assert sorted(str(row) for row in manifests.rows(partition)) == sorted(before)


def test_columns_that_came_later_have_their_default(workspace: Workspace) -> None:
    """Parts of before are joined with those of now; one with a column of nobody's is not."""
    manifests = Manifests(workspace)
    table = next(table for table in TABLES.values() if table.added and table.name != "runs")
    partition = Partition(table.name, "corpus", "f1")
    row = {name: example(kind) for name, kind, _ in table.fields}
    for number in range(FEWEST):
        manifests.write(partition, [str(number)], [row])
    old = schema_of_part(table.name, {b"silentmix.items": b'["old"]'})
    for name in table.added:
        old = old.remove(old.get_field_index(name))
    rows = pa.Table.from_pylist([row], schema=old)
    put = manifests.workspace.put
    put(f"{partition.folder}/old.parquet", lambda out: write_parquet(table.name, [rows], out))
    odd = rows.append_column("odd", pa.array([1]))
    put(f"{partition.folder}/odd.parquet", lambda out: write_parquet(table.name, [odd], out))
    before = sorted(map(str, manifests.rows(partition)))
    [pack] = to_join(manifests, partition)
    assert f"{partition.folder}/odd.parquet" not in pack
    join(manifests, partition, pack)
    assert sorted(map(str, manifests.rows(partition))) == before
    assert len(manifests.parts(partition)) == 2


def test_what_0_1_0_joined_is_joined_with_others(workspace: Workspace) -> None:
    write(Manifests(workspace), NAMES[:10])
    compact_as_before(Manifests(workspace), REJECTS, killed=True)
    write(Manifests(workspace), NAMES[10:])
    before = content(workspace)
    compact(workspace)
    assert content(workspace) == before
    remove(workspace)
    assert content(workspace) == before


def test_a_footer_stays_small_however_many_names_there_are(tmp_path: Path) -> None:
    """Of 2,500 parts with 4 million names 0.1.0 made one that nobody could open."""
    workspace = Workspace(f"memory://{tmp_path}", create=True)
    manifests = Manifests(workspace)
    names = [f"{number:024x}" for number in range(160_000)]
    for start in range(0, len(names), 1600):
        manifests.write(REJECTS, names[start : start + 1600], [reject(names[start])])
    assert len(manifests.parts(REJECTS)) == 100
    joined = compact(workspace)
    seen = Manifests(workspace).parts(REJECTS)
    assert seen == sorted(joined)
    assert len(seen) <= 100 // 10
    for path in seen:
        footer = int.from_bytes(workspace.read(path)[-8:-4], "little")
        assert footer < 1.1 * BOUNDS.name_bytes
    assert Manifests(workspace).items(REJECTS) == {*names}
    assert Manifests(workspace).num_written(REJECTS) == 100


def test_rows_bound_a_joined_part_too(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    rows = TABLES["scores"].rows_a_group
    row = {name: example(kind) for name, kind, _ in TABLES["scores"].fields}
    scores = Partition("scores", "corpus", "f1")
    for number in range(FEWEST):
        manifests.write(scores, [str(number)], [{**row, "track_id": f"{number}"}] * rows)
    for pack in to_join(manifests, scores, replace(BOUNDS, num_groups=8)):
        join(manifests, scores, pack)
    parts = manifests.parts(scores)
    assert len(parts) == 2
    assert len(manifests.row_groups(scores)) == FEWEST


@pytest.mark.parametrize("seed", range(3))
def test_a_row_is_written_anew_a_few_times_in_all(seed: int) -> None:
    """Night after night some parts come, of any size; there are never many, nor much to write."""
    rng = np.random.default_rng(seed)
    sizes: dict[str, float] = {}
    written = 0.0
    for night in range(300):
        for number in range(rng.integers(1, 20)):
            sizes[f"{night} {number}"] = float(rng.uniform(1e-4, 1e-3))
        tiers: dict[int, list[compaction._Sized]] = {}
        for path, size in sizes.items():
            sized = compaction._Sized(path, (size, 0.0, 0.0))
            if size < compaction.FULL:
                tiers.setdefault(sized.tier, []).append(sized)
        for tier in tiers.values():
            for pack in compaction._packed(tier) if len(tier) >= FEWEST else ():
                total = sum(sizes.pop(path) for path in pack)
                written += total
                sizes[f"{night} {pack[0]}"] = total
                assert total <= 1
        assert sum(size < compaction.FULL for size in sizes.values()) < 5 * FEWEST
    assert written < 4 * sum(sizes.values())
