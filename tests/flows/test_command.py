"""The command as a process of its own: what it prints, and the server it starts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.cli import EXIT_USER_ERROR
from tests.flows.conftest import Finished

POLL_S = 0.1
TIMEOUT_S = 300


def environment(home: Path) -> dict[str, str]:
    """This process's, less the tests' own Prefect server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return {**kept, "HOME": str(home)}


def test_a_flow_that_fails_prints_one_line(finished: Finished, tmp_path: Path) -> None:
    location = finished.workspace.location
    command = ["score", "--workspace", location, "--corpus", "nobodys"]
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *command],
        env=environment(tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_USER_ERROR
    [line] = done.stderr.splitlines()
    assert line.startswith(f"silentmix: {location}: no tracks of corpus 'nobodys'; there are some")
    assert not done.stdout


def test_what_is_refused_at_once_leaves_nothing(tmp_path: Path) -> None:
    command = ["train", "--workspace", "nowhere"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flows.cli", *command],
        env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_USER_ERROR
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert len(said) == 1
    assert not any(name in done.stderr for name in ("prefect.", "torch", "distributed"))
    assert not list(tmp_path.iterdir())


@contextmanager
def ui(location: str, port: int, home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "flows.cli", "ui", "--workspace", location, f"--port={port}"]
    process = subprocess.Popen(
        command,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> bytes:
    """What is at a URL, as soon as somebody answers there."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, url
            time.sleep(POLL_S)


def test_the_ui_of_a_workspace(finished: Finished, tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with ui(finished.workspace.location, port, tmp_path) as process:
        assert get(f"{address}/api/health") == b"true"
        assert b"<html" in get(address).lower()
        # the pages talk to this server, not to Prefect's usual port
        assert json.loads(get(f"{address}/ui-settings"))["api_url"] == f"{address}/api"
        second = subprocess.run(
            [sys.executable, "-m", "flows.cli", "ui", "--workspace", finished.workspace.location,
             "--port", str(port)],
            env=environment(tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S,
            check=False,
        )  # fmt: skip
        assert second.returncode == EXIT_USER_ERROR
        assert second.stderr.splitlines() == [
            f"silentmix: port {port} is taken by another program; choose one with --port"
        ]
    assert process.returncode == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert (Path(finished.workspace.location) / ".prefect" / "prefect.db").exists()
