"""Entry of the ``silentmix`` command: settings first, then the commands, and errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

DEFAULT_WORKSPACE = "workspace"
EXIT_USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    What a user can mend ends in one line on the standard error and exit status 2. Prefect reads
    its settings when it is imported, so they are put in place before the commands are.
    """
    from flows.server import configure_prefect

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    configure_prefect(_workspace_of(arguments), os.environ)
    from flows import commands

    try:
        commands.run(arguments)
    except commands.USER_ERRORS as error:
        print(f"silentmix: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("silentmix: interrupted; run the same command to continue", file=sys.stderr)
        return 130
    return 0


def _workspace_of(arguments: Sequence[str]) -> str:
    """The workspace that the arguments, or the configuration they name, ask for."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--workspace":
            return value if equals else "".join(arguments[position + 1 : position + 2])
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--config":
            from flows.configuration import UserError, load_config

            path = value if equals else "".join(arguments[position + 1 : position + 2])
            try:
                return str(load_config(path).get("workspace", DEFAULT_WORKSPACE))
            except UserError:
                break  # said when the command reads it
    return DEFAULT_WORKSPACE


if __name__ == "__main__":
    sys.exit(main())
