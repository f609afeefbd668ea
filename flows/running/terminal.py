"""What is shown in the terminal beside the work, and can't end it.

A deployed run has no terminal but a pipe to its Prefect worker. When the worker is killed, the run
goes on without it; but rich ends a process that prints into a pipe which nobody reads.
"""

from __future__ import annotations

import logging
from functools import partial

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console


def quiet_on_broken_pipe(console: Console) -> Console:
    """A console that falls silent, for good, once nobody reads what it prints."""
    console.on_broken_pipe = partial(setattr, console, "quiet", True)  # type: ignore[method-assign]
    return console


def quiet_log_on_broken_pipe() -> None:
    """Let Prefect's log on the terminal fall silent in the same way; the UI has it all."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            quiet_on_broken_pipe(handler.console)
