"""Events that Prefect gave up on, which automations have not seen."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

FOLDER = "dlq"
"""Where a server leaves them, in the folder of its database: Prefect's dead letter queue."""


def lost_events(home: Path) -> tuple[Counter[str], datetime] | None:
    """How many of each kind were lost, and when the last one was; None if none was.

    Args:
        home: folder of the server's database.
    """
    folder = home / FOLDER
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    if not files:
        return None
    last = max(path.stat().st_mtime for path in files)
    return Counter(map(_kind, files)), datetime.fromtimestamp(last, UTC)


def _kind(path: Path) -> str:
    """What an event is called; the files are Prefect's, of whatever version."""
    try:
        return str(json.loads(path.read_bytes())["attributes"]["event"])
    except (ValueError, KeyError, TypeError):
        return "unknown"
