"""Looks for damage in a workspace, says what it found, and puts away what can be made again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import duckdb

from flows.fsck import audio, parts, references, weights
from flows.fsck.finding import Finding
from flows.fsck.mending import Touched, commands
from flows.fsck.quarantine import put_away
from flows.running.turns import writing
from flows.running.under_way import new_run_id
from storage.tables.manifests import Manifests
from storage.tables.sql import connect
from storage.workspace import Workspace

PUT_AWAY = ("damaged_part", "damaged_audio", "missing_audio", "damaged_weights", "orphan")
"""What ``--repair`` puts away: what a stage makes again, or nothing reads."""


@dataclass
class Examination:
    """What was found.

    Attributes:
        findings: in the order in which they were found.
        touches: of each, in words.
        quarantine: where it was put away, relative to the workspace; empty if it was not.
        commands: that make it again.
    """

    findings: list[Finding] = field(default_factory=list)
    touches: list[list[str]] = field(default_factory=list)
    quarantine: str = ""
    commands: list[str] = field(default_factory=list)


def examine(workspace: Workspace, *, samples: bool = False, repair: bool = False) -> Examination:
    """Look for damage; memory grows with what is damaged alone.

    Args:
        workspace: where; no stage should run in it meanwhile.
        samples: read all audio, and compare it with its hashes.
        repair: put away what is damaged.
    """
    workspace.reads_anew = True
    manifests, found = Manifests(workspace), Examination()
    found.findings += parts.check_parts(manifests)
    found.findings += parts.check_lost(manifests)
    unreadable = {path for each in found.findings for path in each.put_away}
    unreadable |= {each.what for each in found.findings if each.kind == "foreign_part"}
    with connect(workspace, retired=True, leave_out=unreadable) as database:
        found.findings += _of_rows(workspace, database, samples=samples)
        found.findings += weights.check_registry(manifests)
        touched = Touched(database, found.findings)
        found.touches = [touched.by(each) for each in found.findings]
        found.commands = commands(manifests, found.findings)
        mended = [each for each in found.findings if each.kind in PUT_AWAY]
        if repair and mended:
            with writing(workspace, new_run_id("fsck"), "fsck"):
                found.quarantine = put_away(manifests, database, mended)
    return found


def _of_rows(
    workspace: Workspace, database: duckdb.DuckDBPyConnection, *, samples: bool
) -> Iterator[Finding]:
    yield from references.check_keys(database)
    yield from references.check_references(database)
    yield from references.check_files(workspace, database)
    yield from audio.check_audio(workspace, database, samples=samples)
