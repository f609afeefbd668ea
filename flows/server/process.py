"""The Prefect server that shows what ran: yours if you have one, else one of the workspace's own.

Whoever sets ``PREFECT_API_URL``, ``PREFECT_PROFILE`` or ``PREFECT_HOME`` has chosen a server.
Otherwise runs are recorded in ``<workspace>/.prefect``: by the server that ``silentmix up`` started
there (:mod:`flows.service.lifecycle`), or else by one that lives as long as the command does.
Nothing here imports Prefect into the command's process: its settings must be in place before anyone
does.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from flows.server.hosts import LOCALHOST, address_of, answering_to
from flows.server.login import FOR_SERVER, PRIVATE_FILE, PRIVATE_FOLDER, put_login
from storage.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from starlette.types import ASGIApp

CHOSEN_BY_USER = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_HOME")
PRIVATE = "SILENTMIX_PRIVATE_SERVER"
"""Set where runs go to a command's own server, which no other run uses."""

REPORTS_VARIABLE = "SILENTMIX_REPORTS"
"""The folder of reports that the workspace's own server shows as pages."""

REPORTS_PREFIX = "/reports"
"""Where it shows them."""

BY_EAR = f"{REPORTS_PREFIX}/by-ear"
"""Where it asks what is heard in segments of a corpus, whose name follows."""

STARTUP_TIMEOUT_S = 180.0
POLL_S = 0.1
DAY_S = 86400
LOG_TAIL_BYTES = 500
PRIVATE_UMASK = 0o077

SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # in a terminal, Prefect tells its makers when it is imported, whatever the server says
    "DO_NOT_TRACK": "1",
    # the interface sells nothing either
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # a first start migrates the database, which takes longer than Prefect's 20 s
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # the terminal has progress bars and one line for an error; the UI has the logs
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    # half a minute of trying again outlasts a server that is started anew
    "PREFECT_CLIENT_MAX_RETRIES": "4",
    # how soon a run that was lost with its machine is noticed; the most often that Prefect allows
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # the database stays bounded; what ran, and what came of it, is in the manifest runs for good
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * DAY_S),
    "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps(
        {"prefect.flow-run.heartbeat": DAY_S}
    ),
    # no page of another origin may ask it anything; its own pages are of the same
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    # the slots of runs that were lost are freed, even if the server was started anew meanwhile
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage."
    "filesystem",
}


def desk_path(corpus: str, question: Mapping[str, object]) -> str:
    """Where that is, of a corpus.

    Args:
        corpus: whose segments are heard.
        question: what names the audit.
    """
    return f"{BY_EAR}/{quote(corpus, safe='')}/?{urlencode(question)}"


def configure_prefect(workspace: str, environ: MutableMapping[str, str]) -> bool:
    """Put Prefect's settings in place where the user has not.

    Args:
        workspace: folder or URL of a workspace that is there, or is about to be.
        environ: where the settings go.

    Returns:
        Whether the workspace's own server is to be used.
    """
    for name, value in SETTINGS.items():
        environ.setdefault(name, value)
    if any(name in environ for name in CHOSEN_BY_USER):
        return False
    if "://" not in workspace:
        root = Path(workspace).expanduser().resolve()
        environ["PREFECT_HOME"] = str(root / ".prefect")
        environ[REPORTS_VARIABLE] = str(root / "reports")
    return True


class WorkspaceServer:
    """A Prefect server of this command's own, which ends with it, however that ends.

    It starts in the background, since that takes seconds; :meth:`wait` before the first flow. Make
    it before Prefect is imported: what Prefect still has to tell it when Python ends goes first.

    Args:
        environ: environment to start it in; its ``PREFECT_API_URL`` is set to the server's.

    Raises:
        UserError: the folder for its database can't be made.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        home = _home(environ)
        self._made = [path for path in (home, *home.parents) if not path.exists()]
        make_home(environ)
        put_login(home, environ)
        self._log = home / "server.log"
        port = _free_port()
        self.address = address_of(port)
        self._log.touch(PRIVATE_FILE)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                server_command(port, lasting=False),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=server_environment(port, environ),
                # Ctrl-C is for the command, which still has things to tell the server
                start_new_session=True,
            )
        environ["PREFECT_API_URL"] = f"{self.address}/api"
        environ[PRIVATE] = "1"
        atexit.register(self._stop)

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            UserError: it ended, or takes too long; with the end of its log.
        """
        deadline = time.monotonic() + STARTUP_TIMEOUT_S
        while not healthy(self.address):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
                raise UserError(f"the Prefect server did not start; its log {self._log}: {tail}")
            time.sleep(POLL_S)

    def _stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        leave_nothing(self._made)


def leave_nothing(made: Sequence[Path]) -> None:
    """Remove the folder of a server whose command was refused before it began the workspace.

    Args:
        made: folders that were made for it, the server's own first.
    """
    if not (made and made[0].exists()):
        return
    if [path.name for path in made[0].parent.iterdir()] == [made[0].name]:
        shutil.rmtree(made[0], ignore_errors=True)
        with suppress(OSError):  # one that somebody uses by now stays
            for folder in made[1:]:
                folder.rmdir()


def _home(environ: Mapping[str, str]) -> Path:
    """The folder of a server's database and logs."""
    return Path(environ.get("PREFECT_HOME", Path.home() / ".prefect"))


def make_home(environ: Mapping[str, str]) -> Path:
    """Make the folder of a server's database and logs.

    Raises:
        UserError: it can't be made.
    """
    home = _home(environ)
    try:
        home.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{home}: can't be made ({error.strerror}), and the record of what runs goes there; "
            "choose another --workspace, or set PREFECT_HOME"
        ) from error
    return home


def server_command(port: int, host: str = LOCALHOST, *, lasting: bool) -> list[str]:
    """How to start a server; one that does not last ends when its standard input does."""
    command = [sys.executable, "-P", "-m", "flows.server.process", str(port), host]
    return [*command, "--lasting"] if lasting else command


def server_environment(
    port: int, environ: Mapping[str, str], host: str = LOCALHOST
) -> dict[str, str]:
    """The environment of a server."""
    return {
        # where a notification says that the run is to be seen
        "PREFECT_UI_URL": address_of(port, host),
        **environ,
        # its log is a file, where the commands' own is the terminal
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
        # the pages would talk to port 4200 of this machine, whatever host and port they came from
        "PREFECT_SERVER_UI_API_URL": "/api",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        port: int = probe.getsockname()[1]
        return port


def healthy(address: str) -> bool:
    """Whether a Prefect server answers at an address."""
    try:
        url = f"{address}/api/health"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  a server of ours
            healthy: bool = answer.status == 200
            return healthy
    except (urllib.error.URLError, OSError):
        return False


def _lock_before_reading() -> None:
    """Have Prefect's automations take the write lock of SQLite before they read.

    They read, then write; where somebody else wrote in between, SQLite refuses at once. After four
    such refusals Prefect 3.8 drops the event (into the folder ``dlq``): a corpus is not scored, a
    failure is not told.
    """
    from prefect.server.database import provide_database_interface
    from prefect.server.events import triggers

    def session(begin_transaction: bool = False) -> AbstractAsyncContextManager[AsyncSession]:
        return provide_database_interface().session_context(
            begin_transaction=begin_transaction, with_for_update=begin_transaction
        )

    triggers.automations_session = session  # type: ignore[attr-defined, assignment]


def _serve(port: int, host: str, *, lasting: bool) -> None:
    """Be the server; unless it lasts, until the process that started it ends, however it does."""
    if not lasting:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn

    os.umask(PRIVATE_UMASK)  # the database holds the key to the secrets that are in it
    _lock_before_reading()
    uvicorn.run(
        partial(_app, host),
        factory=True,
        host=host,
        port=port,
        log_level="error",
        lifespan="on",  # whose tables can't be made ends, and answers nobody
        timeout_graceful_shutdown=3,
    )


def _app(host: str) -> ASGIApp:
    """Prefect's application and the workspace's reports."""
    from prefect.server.api.server import create_app

    from flows.server.first_start import one_after_the_other
    from flows.server.quiet_pages import asking_nobody_else
    from flows.server.report_pages import with_reports

    app = asking_nobody_else(one_after_the_other(create_app(), _home(os.environ)))
    if folder := os.environ.get(REPORTS_VARIABLE):
        app = with_reports(app, Path(folder), os.environ.get(FOR_SERVER, ""))
    return answering_to(app, host)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2], lasting="--lasting" in sys.argv[3:])
