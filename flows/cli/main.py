"""Entry of the ``silentmix`` command: settings first, then the commands, and errors in one line."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from flows.catalogue import CATALOGUE
from flows.cli.commands import OF_MANY_FLOWS, SERVED, wants_help
from flows.cli.configuration import load_config, option
from flows.cli.lines import complain
from flows.running.launcher import launched
from flows.server.login import put_login
from flows.server.process import WorkspaceServer, configure_prefect
from flows.server.settings_of_folder import refuse_settings_of
from flows.service.state import service_home, standing_server
from storage.errors import UserError
from storage.printable import in_a_line
from storage.workspace import DEFAULT_WORKSPACE, Workspace

DEMO_WORKSPACE = "demo-workspace"
STUDY_WORKSPACE = "study-workspace"
PAPER_WORKSPACE = "paper-workspace"
OWN_WORKSPACES = {
    "demo": DEMO_WORKSPACE, "study": STUDY_WORKSPACE, "study paper": PAPER_WORKSPACE
}  # fmt: skip
CREATING = (*OF_MANY_FLOWS, *(entry.name for entry in CATALOGUE if entry.creates))
OF_MANY_PROCESSES = tuple(entry.name for entry in CATALOGUE if entry.others)
READING = ("status", "models", "detectors", "manifests", "lineage", "forget", "fsck")
MAKE_ROOM = "make room"
ALLOW = "let this user read and write there, or choose another place"
DISK_ERRORS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), MAKE_ROOM),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), ALLOW),
    errno.EIO: "see to the disk",
}
"""What is to be done about each."""
STORES = ("s3fs", "gcsfs", "adlfs", "botocore", "aiobotocore")
"""Packages in which an error of a store is raised."""
ERRORS_OF_STORES = (*STORES, "aiohttp")
"""Packages whose errors those are, beside the operating system's."""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    What a user can mend ends in one line on the standard error and exit status 2. Prefect reads
    its settings when it is imported, so they are put in place before the commands are.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # processes that are begun here take no modules from the folder of music that somebody stands in
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        return _run(arguments)
    except KeyboardInterrupt as interrupt:
        print("silentmix: interrupted; run the same command to continue", file=sys.stderr)
        _let_go(interrupt)
        return EXIT_INTERRUPTED
    except Exception as error:
        said = _said(error)
        if said is None:
            atexit.register(_let_go, error)  # once its traceback is printed
            raise
        complain(said)
        _let_go(error)
        return EXIT_USER_ERROR


def _run(arguments: Sequence[str]) -> int:
    before_flow = _prepare(arguments)
    from flows.cli import app as commands

    # a server that went down is reported once, and not for every line of log
    logging.raiseExceptions = False
    return commands.run(arguments, before_flow=before_flow)


def _said(error: Exception) -> str | None:
    """What is said of an error that a user can mend; None where it is a bug."""
    if isinstance(error, UserError):
        return str(error)
    if _is_of_store(error):
        return (
            f"a store fails ({in_a_line(error)}); what was done is kept: see to the store, or "
            "wait, then run the same command to continue"
        )
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        way_out = DISK_ERRORS[error.errno]
        return f"{error}; {way_out}, then run the same command to continue"
    from flows.cli.app import is_server_gone

    if is_server_gone(error):
        return (
            f"the Prefect server does not answer ({error}); what was done is kept: see to the "
            "server (`silentmix doctor` helps), then run the same command to continue"
        )
    return None


def _is_of_store(error: Exception) -> bool:
    """Whether a store that is no disk, or the way to it, is to blame."""
    if isinstance(error, FileNotFoundError):
        return False
    if not isinstance(error, OSError) and _package(type(error).__module__) not in ERRORS_OF_STORES:
        return False
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(_package(frame.f_globals.get("__name__", "")) in STORES for frame in frames)


def _package(module: str) -> str:
    return module.partition(".")[0]


def _let_go(error: BaseException) -> None:
    """Let go of all that an error's traceback holds, since Prefect keeps errors to the very end.

    DuckDB complains at the exit of what is alive then, in forty lines.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        traceback.clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__


def _prepare(arguments: Sequence[str]) -> Callable[[], None] | None:
    """Put Prefect's settings in place, and start a server where the command will need one.

    Returns:
        What to call before a flow runs.
    """
    command = arguments[0] if arguments else ""
    if command and not wants_help(arguments):
        refuse_settings_of(Path.cwd())
    if command == "separate" or (command == "audit" and "--listen" in arguments):
        if not wants_help(arguments):
            _tell_what_runs(_asked(arguments)("workspace") or DEFAULT_WORKSPACE)
        return None
    if command not in (*SERVED, *READING) or wants_help(arguments):
        return None
    launch = launched(os.environ) if command in SERVED else None
    if launch is not None and command not in OF_MANY_PROCESSES:
        raise UserError(
            f"a launcher started {launch.size} of these (WORLD_SIZE), and {command} is one; "
            f"start several of {' or '.join(OF_MANY_PROCESSES)} alone"
        )
    asked = _asked(arguments)
    usual = OWN_WORKSPACES.get(command, DEFAULT_WORKSPACE)
    workspace = asked("workspace") or OWN_WORKSPACES.get(" ".join(arguments[:2]), usual)
    begins = command in CREATING
    if command == "run":
        first = asked("only") or asked("from") or asked("from-stage")
        begins = first in ("", *CREATING)
    try:
        Workspace.check(workspace, create=begins)  # refuse it before anything starts
    except UserError:
        from flows.cli.app import require_no_stray_words

        require_no_stray_words(arguments)  # that word may have been meant
        raise
    if command == "run" and begins and not all(map(asked, _music())):
        return lambda: None  # it is refused before there is a server, so none is started
    if "--dry-run" in arguments or asked("dry-run") == "True":
        return None
    if command in SERVED and configure_prefect(workspace, os.environ):
        if launch is not None and launch.rank > 0:
            return None  # the first has the flow
        if not _use_standing_server(workspace):
            return WorkspaceServer(os.environ).wait
    return None


def _use_standing_server(workspace: str) -> bool:
    """Turn to the server that ``silentmix up`` started for a workspace, if it runs."""
    home = service_home(workspace, os.environ)
    if address := standing_server(home):
        os.environ["PREFECT_API_URL"] = f"{address}/api"
        put_login(home, os.environ)
    return bool(address)


def _tell_what_runs(workspace: str) -> None:
    """Let a command that needs no server tell the one that runs, if there is a workspace."""
    with suppress(UserError):  # there is none, or nobody knows what was started
        Workspace.check(workspace)
        if configure_prefect(workspace, os.environ):
            _use_standing_server(workspace)


def _music() -> Sequence[str]:
    """The options of what the chain is to ingest."""
    from flows.running.chain_parameters import MUSIC  # with all of its options, for `run` alone

    return MUSIC


def _asked(arguments: Sequence[str]) -> Callable[[str], str]:
    """What the arguments, or else the configuration they name, say for an option, or empty."""
    config = load_config(path) if (path := option(arguments, "config")[0]) else {}
    section = config.get(arguments[0].replace("-", "_"), config.get(arguments[0]))
    fields = {**config, **section} if isinstance(section, dict) else config

    def asked(name: str) -> str:
        return option(arguments, name)[0] or str(fields.get(name.replace("-", "_")) or "")

    return asked
