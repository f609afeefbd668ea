"""A service that a test starts and stops by the command line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from flows.server.login import authorization, login_of
from flows.service.lifecycle import up
from flows.service.state import ServiceState

POLL_S = 0.2
TIMEOUT_S = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], Any], told: Callable[[], object] = lambda: "") -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := what()):
        assert time.monotonic() < deadline, told()
        time.sleep(POLL_S)
    return found


@dataclass
class Service:
    """A workspace with a service of its own, driven by the command line."""

    root: Path
    port: int

    @property
    def home(self) -> Path:
        return self.root / ".prefect"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(
        self, name: str, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", name, "--workspace", str(self.root), *arguments],
            # the tests' own settings are not the user's; Dask leaves a number of threads behind
            env={**kept, **environ},
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip

    def up_again(self, notify_url: str = "") -> list[str]:
        """What another ``up`` says, in this process, which has the flows imported already."""
        said: list[str] = []
        with mock.patch.dict(os.environ):
            for name in [name for name in os.environ if name.startswith("PREFECT")]:
                del os.environ[name]
            assert up(str(self.root), None, notify_url, said.append) == self.address
        return said

    @property
    def login(self) -> str:
        return login_of(self.home)

    def processes(self) -> list[psutil.Process]:
        running = ServiceState.read(self.home).running().values()
        found = [process for own in running if (process := own.find()) is not None]
        return [*found, *(child for each in found for child in each.children(recursive=True))]

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self.address + path, headers=authorization(self.login))
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def standing(root: Path, *options: str, **environ: str) -> Iterator[Service]:
    """A service on a workspace, while the block runs; then none of its processes may be left."""
    service = Service(root, free_port())
    try:
        done = service.command("up", "--port", str(service.port), *options, **environ)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"Prefect UI: {service.address}"
        yield service
    finally:
        running = service.processes()
        done = service.command("down")
        assert done.returncode == 0, done.stderr
        left = [process for process in running if process.is_running()]
        assert not left, [process.cmdline() for process in left]
