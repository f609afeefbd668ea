"""A workspace whose manifests were compacted is the same to all that works in it."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import STAGES
from flows.cli import main as cli
from flows.compact import flow as module
from flows.compact.flow import Compaction, compact
from flows.compact.options import CompactParameters
from flows.fsck.command import examine
from flows.pipeline.flow import pipeline
from flows.pipeline.options import PipelineParameters
from flows.provenance.forget import forget
from flows.running.stage import run_stage
from flows.running.turns import Turn, writing
from flows.running.under_way import FOLDER, runs_under_way
from flows.score.flow import score
from flows.score.options import ScoreParameters
from storage.damage import DamagedError
from storage.tables import compaction
from storage.tables.compaction import join
from storage.tables.joined import is_joined
from storage.tables.manifests import Manifests, Partition, _stands_for
from storage.workspace import Workspace
from tests.flows.conftest import TABLES_OF_TIMES, Finished, content

DAYS = 86_400


@pytest.fixture(autouse=True)
def few_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workspaces of tests have few parts."""
    monkeypatch.setattr(compaction, "FEWEST", 2)


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Workspace:
    """A copy of the finished workspace."""
    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    return Workspace(str(tmp_path / "workspace"))


def run(workspace: Workspace, **told: Any) -> Compaction:
    return run_stage(compact, CompactParameters(workspace=workspace.location, **told))


def parts(workspace: Workspace) -> list[str]:
    return [path for path in workspace.find("manifests") if "/runs/" not in path]


def a_day_later(workspace: Workspace) -> None:
    """As if all that is joined had been so for more than a day."""
    for path in filter(is_joined, parts(workspace)):
        then = time.time() - 1.1 * DAYS
        os.utime(workspace.resolve(path), (then, then))


def all_done(finished: Finished, workspace: Workspace) -> bool:
    told = {**finished.parameters.model_dump(), "workspace": workspace.location, "dry_run": True}
    results = run_stage(pipeline, PipelineParameters.model_validate(told))
    same = [result.fingerprint for result in results] == [r.fingerprint for r in finished.results]
    plans = [result.plan for result in results if result.plan is not None]
    return same and len(plans) >= len(STAGES) and not any(plan.pending for plan in plans)


def digests(workspace: Workspace) -> dict[Partition, tuple[str, set[str], int]]:
    manifests = Manifests(workspace)
    return {
        found: (manifests.digest(found), manifests.items(found), manifests.num_written(found))
        for table in compaction.JOINABLE
        if table not in TABLES_OF_TIMES
        for found in manifests.partitions(table)
    }


def test_nothing_is_to_be_done_again(finished: Finished, copy: Workspace) -> None:
    """Nor lost, nor found by fsck; and what is forced makes the same."""
    whole = content(copy), digests(copy)
    clean = examine(copy).findings
    before = parts(copy)
    told = run(copy, dry_run=True)
    assert parts(copy) == before
    made = run(copy)
    assert {name: each.after.parts for name, each in made.tables.items()} == {
        name: each.after.parts for name, each in told.tables.items()
    }
    assert made.tables["scores"].before.parts > made.tables["scores"].after.parts
    assert not made.left
    for _ in range(2):
        assert (content(copy), digests(copy)) == whole
        assert examine(copy).findings == clean
        assert all_done(finished, copy)
        a_day_later(copy)
        made = run(copy)
    assert not set(before) & {path for path in parts(copy) if "/scores/corpus=music" in path}
    assert not made.tables
    assert made.summary() == "nothing to join"
    assert len(parts(copy)) < len(before)
    values = {"workspace": copy.location, "batch_tracks": 2, "force": True}
    assert not score(ScoreParameters(**values)).already_done
    assert content(copy) == whole[0]


def test_what_was_joined_stays_for_a_day_and_while_a_run_that_began_before_lasts(
    copy: Workspace,
) -> None:
    before = parts(copy)
    run(copy)
    run(copy)
    assert {*before} <= {*parts(copy)}
    with writing(copy, "train-1", "train", "music", "f1"):
        [note] = runs_under_way(copy)
        began = (datetime.now(UTC) - timedelta(days=3)).isoformat()
        copy.put_json(f"{FOLDER}/train-1.json", asdict(replace(note, started_at=began)))
        a_day_later(copy)
        run(copy)
        assert {*before} <= {*parts(copy)}
    assert run(copy).tables["scores"].removed.parts == 5
    assert not {*before} <= {*parts(copy)}


def test_what_somebody_writes_is_left(copy: Workspace) -> None:
    whole = content(copy)
    with writing(copy, "score-1", "score", "music", "f1"):
        made = run(copy)
    assert {folder.split("/")[1] for folder in made.left} >= {"scores"}
    assert "left alone, since they are written: manifests/" in made.summary()
    assert not any(is_joined(path) for path in parts(copy) if "/scores/" in path)
    assert any(map(is_joined, parts(copy)))
    assert content(copy) == whole
    assert run(copy).tables.keys() >= {"scores"}


def test_of_two_at_once_one_leaves_it(copy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(copy)
    others: list[Compaction] = []

    def meanwhile(*arguments: Any) -> str:
        monkeypatch.setattr(module, "join", join)
        others.append(run(copy))
        return join(*arguments)

    monkeypatch.setattr(module, "join", meanwhile)
    made = run(copy)
    [[left]] = (other.left for other in others)
    first = made.tables[left.split("/")[1]]
    assert first.before.parts > first.after.parts
    assert content(copy) == whole


@pytest.fixture
def turn(copy: Workspace, finished: Finished) -> Iterator[Turn]:
    with Turn(copy, "compact-1", finished.only("scores", "music")) as found:
        yield found


def test_who_writes_waits_until_a_compaction_has_left(
    copy: Workspace, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which it does as soon as it sees that somebody waits."""
    went_on = [turn.goes_on()]

    def waits(_: float) -> None:
        went_on.append(turn.goes_on())
        turn.__exit__()

    monkeypatch.setattr("flows.running.turns.time.sleep", waits)
    with writing(copy, "train-1", "train"):  # it writes no scores
        assert turn.goes_on()
    manifests = Manifests(copy)
    track = next(manifests.rows(manifests.latest("tracks", "music")))["track_id"]
    forget(copy, [track])
    assert went_on == [True, False]
    assert not turn.goes_on()


def test_a_compaction_elsewhere_that_says_nothing_is_gone(
    copy: Workspace, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turn.goes_on()
    note = turn._note
    silent = datetime.now(UTC) - timedelta(minutes=11)
    note.told = replace(note.told, told_at=silent.isoformat(), host="elsewhere")
    assert socket.gethostname() != "elsewhere"
    copy.put_json(note.path, asdict(note.told))
    monkeypatch.setattr("flows.running.turns.time.sleep", None)
    with writing(copy, "score-1", "score"):
        pass
    assert not turn.goes_on()


def test_what_is_forgotten_is_in_no_part(copy: Workspace) -> None:
    run(copy)
    manifests = Manifests(copy)
    track = next(manifests.rows(manifests.latest("remixes", "music")))["track_id"]

    def named() -> set[str]:
        tables = ("tracks", "scores", "segments", "remixes", "prints", "measures", "source_files")
        return {
            path
            for path in parts(copy)
            if path.split("/")[1] in tables and track in str(rows_of(path))
        }

    def rows_of(path: str) -> list[Any]:
        with manifests._open(path) as file:
            return [file.read().to_pylist(), sorted(manifests._items(path))]

    assert any(map(is_joined, named()))
    assert not all(map(is_joined, named()))
    assert forget(copy, [track], dry_run=True).names.keys() == {track}
    forget(copy, [track])
    assert not named()
    assert not runs_under_way(copy)
    left = content(copy)
    a_day_later(copy)
    run(copy)
    assert content(copy) == left


def test_a_joined_part_that_is_lost_or_damaged(copy: Workspace) -> None:
    """It is missed, and found; while what it replaces is there, nothing is to be made again."""
    whole = content(copy)
    run(copy)
    [joined] = [path for path in parts(copy) if is_joined(path) and "/scores/corpus=music" in path]
    broken = bytearray(copy.read(joined))
    broken[len(broken) // 2] ^= 1
    copy.put_bytes(joined, bytes(broken))
    found = examine(copy, repair=True)
    assert [each.what for each in found.findings if each.kind == "damaged_part"] == [joined]
    assert content(copy) == whole
    run(copy)
    a_day_later(copy)
    run(copy)
    broken = bytearray(copy.read(joined))
    broken[-20] ^= 1  # of its footer, which tells what it replaces
    copy.put_bytes(joined, bytes(broken))
    _stands_for.cache_clear()  # as in another process
    with pytest.raises(DamagedError):
        run(copy)
    found = examine(copy, repair=True)
    assert joined in [each.what for each in found.findings if each.kind == "damaged_part"]
    [lost] = [each for each in examine(copy).findings if each.kind == "lost_part"]
    assert lost.why == "5 of 5 parts that score left there are missing"
    score(ScoreParameters(workspace=copy.location, batch_tracks=1))
    assert content(copy) == whole
    assert not [each for each in examine(copy).findings if each.kind == "lost_part"]


def test_a_damaged_part_does_not_keep_others_from_it(copy: Workspace) -> None:
    [part, *_] = [path for path in parts(copy) if "/stems/" in path]
    copy.put_bytes(part, copy.read(part)[:-9])
    with pytest.raises(DamagedError, match="stems"):
        run(copy)
    assert [path for path in parts(copy) if is_joined(path) and "/scores/" in path]


def test_on_the_command_line(
    copy: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "WorkspaceServer", None)
    assert cli.main(["compact", "--workspace", copy.location, "--dry-run"]) == 0
    heading, *lines, summary = capsys.readouterr().out.splitlines()
    assert heading.split() == ["manifest", "before", "after", "removed", "kept"]
    [scores] = [line for line in lines if line.startswith("scores")]
    assert scores.split()[1] == "5"
    assert summary.endswith("parts fewer, if it were no dry run")
