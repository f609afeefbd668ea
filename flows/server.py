"""The Prefect server that shows what ran: yours if you have one, else one of the workspace's own.

Whoever sets ``PREFECT_API_URL``, ``PREFECT_PROFILE`` or ``PREFECT_HOME`` has chosen a server.
Otherwise runs are recorded in ``<workspace>/.prefect`` by a server that lives as long as the
command does, and ``silentmix ui`` shows them later. Nothing here imports Prefect into the command's
process: its settings must be in place before anyone does.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import MutableMapping
from pathlib import Path
from typing import BinaryIO

from flows.configuration import UserError

CHOSEN_BY_USER = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_HOME")
DEFAULT_PORT = 4200
STARTUP_TIMEOUT_S = 180.0
POLL_S = 0.1
LOG_TAIL_BYTES = 500

SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # a first start migrates the database, which takes longer than Prefect's 20 s
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # the terminal has progress bars and one line for an error; the UI has the logs
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


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
        environ["PREFECT_HOME"] = str(Path(workspace).expanduser().resolve() / ".prefect")
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
        home = _make_home(environ)
        self._log = home / "server.log"
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}"
        with self._log.open("wb") as log:
            self._process = _start(port, environ, log)
        environ["PREFECT_API_URL"] = f"{self.address}/api"
        atexit.register(self._stop)

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            UserError: it ended, or takes too long; with the end of its log.
        """
        deadline = time.monotonic() + STARTUP_TIMEOUT_S
        while not _healthy(self.address):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
                raise UserError(f"the Prefect server did not start; its log {self._log}: {tail}")
            time.sleep(POLL_S)

    def _stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve_ui(port: int, environ: MutableMapping[str, str]) -> int:
    """Run the server and its UI until interrupted; returns its exit status.

    Raises:
        UserError: the port is taken, or the folder for its database can't be made.
    """
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UserError(f"port {port} is taken by another program; choose one with --port")
    _make_home(environ)
    print(f"Prefect UI: http://127.0.0.1:{port} (stop it with Ctrl-C)", flush=True)
    process = _start(port, environ, sys.stderr.buffer)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        process.terminate()
        process.wait()


def _make_home(environ: MutableMapping[str, str]) -> Path:
    home = Path(environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{home}: can't be made ({error.strerror}), and the record of what runs goes there; "
            "choose another --workspace, or set PREFECT_HOME"
        ) from error
    return home


def _start(port: int, environ: MutableMapping[str, str], log: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.server", str(port)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        # the pages would talk to port 4200, whatever the port they came from
        env={**environ, "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api"},
        # Ctrl-C is for the command, which still has things to tell the server
        start_new_session=True,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/api/health", timeout=5) as answer:
            healthy: bool = answer.status == 200
            return healthy
    except (urllib.error.URLError, OSError):
        return False


def _serve(port: int) -> None:
    """Be the server, until the process that started it closes its end of the pipe, or dies."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        timeout_graceful_shutdown=3,
    )


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
