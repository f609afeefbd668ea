"""Two commands at once in one workspace."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.case import Case, snapshot
from benchmarks.faults.child import forked
from benchmarks.faults.compare import Content, content
from benchmarks.faults.hooks import AtPut, kill
from benchmarks.faults.music import CORPUS, TWIN, command
from storage.tables.manifests import Manifests
from storage.workspace import Workspace


def _stopping(case: Case) -> Callable[[], object]:
    """Stop at some file, so that the other command comes in between."""
    place = case.draws.choice(("before", "half", "written", "after"))
    return AtPut(case.draws.randrange(case.num_puts), place, kill(signal.SIGSTOP))


def same_stage_twice(case: Case) -> None:
    """Two runs of one stage: the second works while the first is in the middle of a file."""
    first = case.start(before=_stopping(case))
    if first.wait_until_stopped():
        case.run(before=None)
    case.note("the first", first.wait())


def same_stage_side_by_side(case: Case) -> None:
    """Two runs of one stage that both go on."""
    both = [case.start(name=name) for name in ("one", "other")]
    for child in both:
        case.note("side by side", child.wait())


def train_while_remix(case: Case) -> None:
    """Remix is in the middle of a file while a training reads."""
    first = case.start(before=_stopping(case))
    if first.wait_until_stopped():
        case.run(command("train", case.root, str(case.workspace)))
    case.note("remix", first.wait())
    shutil.rmtree(case.workspace / "models", ignore_errors=True)  # made of what was there then


def forget_while_score(case: Case) -> None:
    """A track is forgotten while it is scored; then it is forgotten and scored again."""
    words = ["forget", _a_track(case.workspace), "--workspace", str(case.workspace)]
    first = case.start(before=_stopping(case))
    if first.wait_until_stopped():
        case.run(words)
    case.note("score", first.wait())
    case.run(words)


def wanted_after_forgetting(case: Case) -> Content:
    """What forgetting leaves where nothing else runs."""
    shutil.rmtree(case.workspace, ignore_errors=True)
    shutil.copytree(snapshot(case.root, case.stage), case.workspace)
    words = ["forget", _a_track(case.workspace), "--workspace", str(case.workspace)]
    for each in (words, case.words):
        ran = case.run(each)
        assert ran.status == 0, ran.output
    return forked(lambda: content(str(case.workspace)))


def _a_track(workspace: Path) -> str:
    def first() -> str:
        manifests = Manifests(Workspace(str(workspace)))
        [partition] = manifests.partitions("tracks", CORPUS)
        return str(min(row["track_id"] for row in manifests.rows(partition, ["track_id"])))

    return forked(first)


def two_corpora(case: Case) -> list[str]:
    """Two corpora of the same new files at once; returns what is there twice, or not at all."""
    words = [
        command("ingest music", case.root, str(case.workspace), name) for name in (CORPUS, TWIN)
    ]
    first = case.start(words[0], before=_stopping(case), name="one")
    if first.wait_until_stopped():
        case.run(words[1])
    case.note("the first corpus", first.wait())
    for each in words:
        case.run(each)

    def tracks() -> Counter[str]:
        manifests = Manifests(Workspace(str(case.workspace)))
        return Counter(
            row["track_id"]
            for partition in manifests.partitions("tracks")
            for row in manifests.rows(partition, ["track_id"])
        )

    def wanted() -> set[str]:
        manifests = Manifests(Workspace(str(snapshot(case.root, "fit-detector"))))
        [partition] = manifests.partitions("tracks", CORPUS)
        return {row["track_id"] for row in manifests.rows(partition, ["track_id"])}

    found, all_of_them = forked(tracks), forked(wanted)
    return [f"{name}: {found[name]} times" for name in all_of_them | set(found) if found[name] != 1]
