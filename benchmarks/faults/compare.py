"""What a workspace holds beside what it should: rows, bytes of audio, weights, files left over."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.inputs import registry
from storage.tables.manifests import Manifests
from storage.tables.schemas import TABLES
from storage.workspace import Workspace

OF_TIMES = frozenset(("runs", "labelled_files", "source_files", "retired", "steps"))
"""Tables that tell when, not what: no two runs leave the same."""

Content = Mapping[str, Counter[str]]
"""By place (a manifest's partition, a corpus's audio, a model), what is there and how often."""


@dataclass
class Found:
    """What is wrong, a line each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.different)


def content(location: str) -> dict[str, Counter[str]]:
    """All that a workspace holds, but for when it was made and what was put away."""
    workspace = Workspace(location)
    manifests = Manifests(workspace)
    found: dict[str, Counter[str]] = {}
    for table in TABLES:
        if table in OF_TIMES:
            continue
        for partition in manifests.partitions(table):
            rows = Counter(repr(sorted(row.items())) for row in manifests.rows(partition))
            if rows:
                found[partition.folder] = rows
    paths = {
        row["path"]
        for table in ("tracks", "stems")
        for partition in manifests.partitions(table)
        for row in manifests.rows(partition, ["path"])
    }
    for path in paths:
        found[path] = Counter([_digest(workspace, path)])
    for kind in ("detectors", "models"):
        for name in registry.names(workspace, kind):
            path = f"{kind}/{name}/{registry.WEIGHTS}"
            found[path] = Counter([_digest(workspace, path)])
    left = [path for path in _all_files(workspace) if path.endswith((".tmp", ".part"))]
    if left:
        found["left over"] = Counter(left)
    return found


def _digest(workspace: Workspace, path: str) -> str:
    if not workspace.exists(path):
        return "missing"
    return hashlib.sha256(workspace.read(path)).hexdigest()


def _all_files(workspace: Workspace) -> list[str]:
    return [workspace.relative(path) for path in workspace.fs.find(workspace.root)]


def differences(mine: Content, wanted: Content, *, more_is_fine: bool = False) -> Found:
    """What is lost, doubled or different.

    Args:
        mine: what there is.
        wanted: what an undisturbed run leaves.
        more_is_fine: whether other partitions and models may be there too.
    """
    found = Found()
    for place, rows in wanted.items():
        there = mine.get(place, Counter())
        found.lost += [f"{place}: {row:.200}" for row in rows if not there[row]]
        found.doubled += [
            f"{place}: {row:.200}" for row, count in there.items() if 0 < rows[row] < count
        ]
        found.different += [f"{place}: {row:.200}" for row in there if not rows[row]]
    for place in mine.keys() - wanted.keys():
        if not more_is_fine or place == "left over":
            found.different += [f"{place}: {row:.200}" for row in mine[place]]
    return found
