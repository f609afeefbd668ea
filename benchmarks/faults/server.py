"""The Prefect server that all commands of the chaos share, and that may be killed."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from flows.server.login import put_login
from flows.server.process import (
    PRIVATE,
    configure_prefect,
    healthy,
    make_home,
    server_command,
    server_environment,
)

POLL_S = 0.1


class Server:
    """A server on one port for good.

    Args:
        folder: for its database.
        port: that is free.
    """

    def __init__(self, folder: Path, port: int) -> None:
        for name in [name for name in os.environ if name.startswith("PREFECT")]:
            del os.environ[name]
        configure_prefect(str(folder), os.environ)
        put_login(make_home(os.environ), os.environ)
        self._port, self._log = port, folder / "server.log"
        self._address = f"http://127.0.0.1:{port}"
        # no run waits for the slot of one that was killed: two at once is one of the faults
        os.environ[PRIVATE] = "1"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        os.environ["PREFECT_API_URL"] = f"{self._address}/api"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                server_command(self._port, lasting=False),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=server_environment(self._port, os.environ),
                start_new_session=True,
            )
        while not healthy(self._address):
            if self._process.poll() is not None:
                raise RuntimeError(f"the Prefect server did not start; see {self._log}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
