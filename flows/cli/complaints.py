"""What is said of a command line that can't be understood: in one line, with the way out."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence

import cyclopts


def complaint(error: cyclopts.CycloptsError, arguments: Sequence[str]) -> str:
    """What is wrong with a command line."""
    unused = error.unused_tokens or []
    if isinstance(error, cyclopts.UnknownCommandError) and unused and error.app is not None:
        commands = [known for known in error.app if not known.startswith("-")]
        if near := difflib.get_close_matches(unused[0], commands, n=1):
            return f"no command {unused[0]!r}; did you mean {near[0]!r}? See --help."
        return f"no command {unused[0]!r}; there are {', '.join(commands)}. See --help."
    if isinstance(error, cyclopts.UnusedCliTokensError):
        return (
            f"{arguments[0]}: nothing takes {' '.join(unused)!r}; values follow their options, "
            "those of a list with commas between them. See --help."
        )
    if isinstance(error, cyclopts.MissingArgumentError) and unused and error.argument is not None:
        meant = f"{error.argument.names[0]} {shlex.join(unused)}"
        return (
            f"{arguments[0]}: nothing takes {' '.join(unused)!r}; did you mean {meant}? See --help."
        )
    return f"{error} See --help."
