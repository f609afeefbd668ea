"""What was forgotten, for the terminal."""

from __future__ import annotations

from rich.console import Console

from flows.provenance.forget import Forgotten
from storage.printable import shown
from storage.workspace import Workspace


def print_forgotten(workspace: Workspace, result: Forgotten, console: Console) -> None:
    """What went, or would go, and what to train again."""
    say = "would forget" if result.dry_run else "forgot"
    lines = [f"{say} {track_id}  {name}" for track_id, name in result.names.items()]
    rows = ", ".join(f"{count} {table}" for table, count in result.rows.items())
    lines.append(
        f"rows: {rows or 'none'}; files: {result.files}; texts of reports less it: {result.texts}"
    )
    for kind, hearers, stage in (
        ("detector", result.detectors, "fit-detector"),
        ("model", result.models, "train"),
    ):
        again = workspace.command(stage)
        lines += [f"{kind} {name} heard it: run {again} again" for name in hearers]
    for line in lines:
        console.print(shown(line), highlight=False, markup=False, soft_wrap=True)
