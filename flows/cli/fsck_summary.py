"""What was found in a workspace, a line each."""

from __future__ import annotations

from flows.cli.lines import say
from flows.fsck.command import PUT_AWAY, Examination


def print_examination(found: Examination) -> None:
    """What is wrong, what it touches, and what mends it."""
    for finding, touched in zip(found.findings, found.touches, strict=True):
        touches = f"; touches {', '.join(touched)}" if touched else ""
        say(f"{finding.kind}  {finding.what}: {finding.why}{touches}")
    if not found.findings:
        say("no damage found")
        return
    say(f"{len(found.findings)} found")
    if found.quarantine:
        say(f"put away, with a list: {found.quarantine}")
    elif any(finding.kind in PUT_AWAY for finding in found.findings):
        say("mend: the same command with --repair, which puts away what is damaged; or restore it")
    for command in found.commands:
        say(f"mend: {command}")
