"""Whether a process that was noted is still there: its id alone is reused."""

from __future__ import annotations

import psutil

CLOCK_TOLERANCE_S = 2.0
"""Start times are counted from a boot time that shifts as the clock is set."""


def noted_process(pid: int, started_at: float) -> psutil.Process | None:
    """The process of an id that began at a time, or None if it has ended.

    Args:
        pid: its id on this machine.
        started_at: in seconds since 1970.
    """
    try:
        found = psutil.Process(pid)
        same = abs(found.create_time() - started_at) <= CLOCK_TOLERANCE_S
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
