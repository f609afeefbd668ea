"""What is pending is seen in a listing; what parts cover is read where that leaves doubt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from flows.reports.artifacts import Report
from flows.running.rejects import reject_row
from flows.running.row_groups import pending_groups
from flows.running.stage import StageRun
from storage.tables.compaction import join
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

SOURCE, TARGET = Partition("rejects", "music", "f1"), Partition("rejects", "music", "f2")
PARTS = ("ab", "cd", "ef")


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    manifests = Manifests(workspace)
    for names in PARTS:
        manifests.write(
            SOURCE, list(names), [reject_row("score", name, "odd", "") for name in names]
        )
    report = Report(workspace, "extract", "extract-1")
    return StageRun("extract", "music", "f2", workspace, manifests, report)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts whose items are read."""
    paths: list[str] = []
    names_of = Manifests.names_of

    def noted(self: Manifests, wanted: Iterable[str]) -> Iterator[list[str]]:
        wanted = list(wanted)
        paths.extend(wanted)
        return names_of(self, wanted)

    monkeypatch.setattr(Manifests, "names_of", noted)
    return paths


def pending(run: StageRun) -> dict[str, str]:
    """What is done of each row group that is pending, by what the group holds."""
    names = dict(run.manifests.names_in_groups(SOURCE, "item"))
    found = pending_groups(run, SOURCE, TARGET, "item")
    assert found.total == sum(map(len, names.values()))
    assert found.num_pending == sum(
        len(names[each.group]) - len(each.done) for each in found.groups
    )
    return {"".join(names[each.group]): "".join(sorted(each.done)) for each in found.groups}


def test_a_listing_is_enough_where_a_part_covers_a_row_group(
    run: StageRun, asked: list[str]
) -> None:
    assert pending(run) == {"ab": "", "cd": "", "ef": ""}
    run.manifests.write(TARGET, ["d", "c"], [])
    assert pending(run) == {"ab": "", "ef": ""}
    for names in PARTS:
        run.manifests.write(TARGET, list(names), [])
    assert pending(run) == {}
    assert asked == []


def test_parts_that_cover_something_else_are_looked_into(run: StageRun, asked: list[str]) -> None:
    run.manifests.write(TARGET, ["a", "b"], [])
    odd = run.manifests.write(TARGET, ["c", "x"], [])
    assert pending(run) == {"cd": "c", "ef": ""}
    assert asked == [odd]


def test_all_are_where_some_were_joined(run: StageRun, asked: list[str]) -> None:
    parts = [run.manifests.write(TARGET, list(names), []) for names in ("ab", "cx")]
    joined = join(run.manifests, TARGET, parts)
    assert pending(run) == {"cd": "c", "ef": ""}
    assert asked == [joined]
    run.manifests.write(TARGET, ["e", "f"], [])
    assert pending(run) == {"cd": "c"}
    run.manifests.write(TARGET, ["d"], [])
    assert pending(run) == {}


def test_a_forced_run_takes_away_what_covers_nothing_else(run: StageRun) -> None:
    run.manifests.write(TARGET, ["a", "b"], [])
    odd = run.manifests.write(TARGET, ["c", "x"], [])
    run.force = True
    assert pending(run) == {"ab": "", "cd": "c", "ef": ""}
    assert len(run.manifests.parts(TARGET)) == 2  # it may still be refused
    run.plan("items", 5, 6)
    assert run.manifests.parts(TARGET) == [odd]
