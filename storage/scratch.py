"""Temporary files of processes that were killed, which nobody else removes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

LEFT_AFTER_S = 2 * 86_400.0
"""How long nothing has written to what counts as left: no file takes so long to decode."""

PREFIX = "silentmix-scratch-"
"""What temporary files with a name begin with; a folder that a person made is called otherwise."""


def sweep_scratch(now_s: float | None = None) -> int:
    """Remove this user's temporary files that killed processes left; returns how many.

    Args:
        now_s: seconds since the epoch; by default what the clock says.
    """
    latest = (time.time() if now_s is None else now_s) - LEFT_AFTER_S
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # gone meanwhile, or not ours to remove
            found = path.lstat()
            if found.st_uid != os.getuid() or _last_written(path) > latest:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed += 1
    return removed


def _last_written(path: Path) -> float:
    """When something in it was last written."""
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    return float(max(each.lstat().st_mtime for each in (path, *inside)))
