"""Commands in processes that may be killed: forks of this one, which has imported everything.

So a command costs what it does, and not the seconds that importing takes.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
TIMEOUT_S = 900.0
POLL_S = 0.05
KILLED = -signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended.

    Attributes:
        status: its exit status; negative for the signal that killed it.
        output: what it printed.
        is_hung: whether it did not end, and was killed for that.
    """

    status: int
    output: str
    is_hung: bool = False

    @property
    def is_traceback(self) -> bool:
        """Whether it ended in one."""
        return "Traceback (most recent call last)" in self.output


class Child:
    """A command under way.

    Args:
        arguments: the command line, less the program's name.
        log: where its output goes.
        before: is called in the process before the command, to arrange what shall happen to it.
        in_process: whether Dask works in the process too.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        before: Callable[[], object] | None = None,
        in_process: bool = True,
    ) -> None:
        self._log = log
        self.pid = os.fork()
        if not self.pid:
            _be(arguments, log, before, in_process)

    def wait(self, stopped: Callable[[], object] | None = None) -> Ran:
        """Wait until it ends; where it stops itself, ``stopped`` is called and it goes on."""
        deadline, is_hung = time.monotonic() + TIMEOUT_S, False
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if not pid:
                if time.monotonic() > deadline:
                    os.killpg(self.pid, signal.SIGKILL)
                    deadline, is_hung = float("inf"), True
                time.sleep(POLL_S)
                continue
            if os.WIFSTOPPED(status):
                if stopped is not None:
                    stopped()
                os.kill(self.pid, signal.SIGCONT)
                continue
            _end_group(self.pid)
            code = os.waitstatus_to_exitcode(status)
            output = self._log.read_text("utf-8", "replace")
            return Ran(status=code, output=output, is_hung=is_hung)

    def has_ended(self) -> bool:
        """Whether it has; :meth:`wait` tells how."""
        told = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        return told is not None

    def wait_until_stopped(self) -> bool:
        """Wait until it stops itself; False if it ended instead, which :meth:`wait` tells again."""
        told = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return told is not None and told.si_code == os.CLD_STOPPED


def _end_group(pid: int) -> None:
    """Nothing that a command started outlives the fault."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _be(
    arguments: Sequence[str], log: Path, before: Callable[[], object] | None, in_process: bool
) -> None:
    """Be the command, in a process that was forked; does not return."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    status = 1
    try:
        status = _command(arguments, before, in_process)
    except BaseException:  # noqa: BLE001  as Python itself would end
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _command(
    arguments: Sequence[str], before: Callable[[], object] | None, in_process: bool
) -> int:
    from flows.cli.main import main
    from flows.running.execution import dask_client
    from flows.running.parameters import WorkParameters

    if before is not None:
        before()
    if not in_process:
        return main(arguments)
    with dask_client(WorkParameters(), in_process=True):
        return main(arguments)


def forked(work: Callable[[], Result]) -> Result:
    """What a function returns in a process of its own, so that this one stays fit to be forked."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        told: tuple[bool, Any]
        try:
            told = True, work()
        except BaseException:  # noqa: BLE001  raised again on the other side
            told = False, traceback.format_exc()
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(told, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    os.waitpid(pid, 0)
    is_well, result = pickle.loads(content)  # noqa: S301  from this program itself
    if not is_well:
        raise RuntimeError(result)
    found: Result = result
    return found
