"""What happens to a command at the n-th file it writes: put into it in its own process."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, BinaryIO

from storage import workspace
from storage.decoding.decoder_process import DecoderProcess

PLACES = ("before", "half", "written", "after")
"""Where in the writing of a file: before it, in its middle, before it has its name, after it."""


class AtPut:
    """Does something at the n-th file that goes into a workspace.

    Args:
        number: which file, from 0.
        place: where in its writing, of :data:`PLACES`.
        act: what.
    """

    def __init__(self, number: int, place: str, act: Callable[[], object]) -> None:
        self._number, self._place, self._act = number, place, act
        self._lock = threading.Lock()
        self.count = 0

    def __call__(self) -> None:
        """Arrange it in this process."""
        self._put = workspace._put_local
        workspace._put_local = self._instead

    def _instead(self, target: Path, write: Callable[[BinaryIO], object]) -> int:
        with self._lock:
            is_it = self.count == self._number
            self.count += 1
        if not is_it:
            return self._put(target, write)
        if self._place == "before":
            self._act()

        def cut_short(file: BinaryIO) -> None:
            write(file)
            file.flush()
            whole = file.seek(0, os.SEEK_END)
            if self._place == "half":
                file.truncate(whole // 2)
                self._act()
                file.truncate(whole // 2)
                file.seek(0)
                write(file)
            elif self._place == "written":
                self._act()

        size = self._put(target, cut_short)
        if self._place == "after":
            self._act()
        return size


def kill(how: signal.Signals) -> Callable[[], None]:
    """Send this process a signal."""

    def act() -> None:
        os.kill(os.getpid(), how)

    return act


def kill_decoder_at(number: int) -> Callable[[], None]:
    """Kill the process that decodes, when it is given its n-th file."""

    def arrange() -> None:
        ask, count = DecoderProcess.ask, iter(range(10_000))

        def instead(self: DecoderProcess, *args: Any) -> dict[str, Any]:
            if next(count) == number and self.pid:
                os.kill(self.pid, signal.SIGKILL)
            return ask(self, *args)

        DecoderProcess.ask = instead  # type: ignore[method-assign, assignment]

    return arrange


def clock_moved(by: timedelta) -> Callable[[], None]:
    """Let our code read another time than it is."""

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + by

    def arrange() -> None:
        import sys

        for name, module in list(sys.modules.items()):
            if (
                name.startswith(("flows.", "storage."))
                and getattr(module, "datetime", 0) is datetime
            ):
                module.datetime = Moved  # type: ignore[attr-defined]

    return arrange


def scratch_in(folder: Path) -> Callable[[], None]:
    """Put temporary files there."""

    def arrange() -> None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)

    return arrange
