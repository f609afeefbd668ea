"""``silentmix doctor`` finds what is broken, and says how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun, Worker, WorkerStatus, WorkPool, WorkQueue

from flows.cli import main as cli
from flows.cli import service_commands
from flows.service import doctor, lifecycle, registration, service_checks
from flows.service.doctor import examine
from flows.service.finding import Finding
from flows.service.processes import OwnProcess
from flows.service.state import STATE_FILE, ServiceState
from storage.workspace import Workspace


@pytest.fixture(autouse=True)
def nobody_on_the_usual_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs on this machine."""
    monkeypatch.setattr(service_checks, "who_listens", lambda _: "")
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    return Workspace(str(tmp_path / "w"), create=True).location


def home_of(workspace: str) -> Path:
    home = Path(workspace) / ".prefect"
    home.mkdir()
    return home


def wrong(workspace: str) -> dict[str, Finding]:
    return {name: finding for name, finding in examine(workspace).items() if finding.mend}


def test_nothing_is_wrong(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not wrong(workspace)
    assert cli.main(["doctor", "--workspace", workspace]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in doctor.CHECKS)


def test_no_workspace_yet_is_nothing_wrong(tmp_path: Path) -> None:
    assert not wrong(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert set(wrong(str(tmp_path))) == {"workspace"}
    assert cli.main(["doctor", "--workspace", str(tmp_path)]) == service_commands.EXIT_WRONG
    said = capsys.readouterr().out
    assert "holds files but is no silentmix workspace" in said
    assert "name another --workspace" in said


def test_a_package_of_another_version(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(_: str) -> list[str]:
        return ["numpy<0.1", "no-such-package", 'absent; extra == "dev"', "torch"]

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    found = wrong(workspace)["packages"]
    assert f"numpy {importlib.metadata.version('numpy')} is not <0.1" in found.said
    assert "no-such-package is missing" in found.said
    assert "absent" not in found.said


def test_another_python(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    assert doctor.python(workspace).mend


def test_no_ffmpeg(workspace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "put_ffmpeg_on_path", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ffmpeg does not run" in doctor.ffmpeg(workspace).said


def test_a_gpu_that_torch_does_not_see(
    workspace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "install a build of torch" in doctor.gpu(workspace).mend


def test_a_full_disk(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 10**18)
    assert set(wrong(workspace)) == {"disk"}


def test_a_server_that_is_gone(workspace: str) -> None:
    ended = OwnProcess(pid=2**22 + 1, started_at=0.0, command=("python",), log="")
    address = "http://127.0.0.1:9"
    ServiceState(address=address, processes={"server": ended}).write(home_of(workspace))
    found = wrong(workspace)
    assert set(found) == {"server"}, "what hangs on it says so, and is nothing else to mend"
    assert found["server"].said == f"none answers at {address}"
    assert "silentmix up" in found["server"].mend


def test_a_note_that_can_not_be_read(workspace: str) -> None:
    (home_of(workspace) / STATE_FILE).write_text("{")
    assert STATE_FILE in wrong(workspace)["server"].said


def test_another_program_on_the_usual_port(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_checks, "who_listens", lambda _: "another program")
    found = wrong(workspace)["server"]
    assert f"port {lifecycle.DEFAULT_PORT} is taken by another program" in found.said
    assert "--port" in found.mend


def test_a_check_that_breaks_is_a_finding(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> Finding:
        raise ImportError("no\nlibrary")

    monkeypatch.setitem(doctor.CHECKS, "GPU", broken)
    assert wrong(workspace)["GPU"].said == "ImportError: no library"


class Server(BaseHTTPRequestHandler):
    """Says that it is well, and what time it is there."""

    ahead = timedelta()

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.ahead, usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Client:
    """A server that has one pool, one worker online, and runs that should have begun."""

    def __init__(self) -> None:
        self.address = ""
        self.pool = WorkPool(name="gpu", type="process", default_queue_id=uuid.uuid4())
        self.queue = WorkQueue(name="default", work_pool_id=self.pool.id)
        self.worker = Worker(name="far", work_pool_id=self.pool.id, status=WorkerStatus.ONLINE)
        self.runs = [
            FlowRun(flow_id=uuid.uuid4(), work_pool_name="gpu", work_queue_name="default")
            for _ in range(2)
        ]

    def read_flow_runs(self, **_: object) -> list[FlowRun]:
        return self.runs

    def read_work_pool(self, _: str) -> WorkPool:
        return self.pool

    def read_work_queue_by_name(self, *_: object) -> WorkQueue:
        return self.queue

    def read_workers_for_work_pool(self, pool: str, **_: object) -> list[Worker]:
        return [self.worker] if pool == "gpu" else []


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """What a server that answers says, other than its health."""
    found = Client()

    @contextmanager
    def server(*_: str) -> Iterator[Client]:
        yield found

    monkeypatch.setattr(registration, "server", server)
    monkeypatch.setattr(Server, "ahead", timedelta())
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        found.address = f"http://127.0.0.1:{listening.server_port}"
        monkeypatch.setattr(service_checks, "chosen_server", lambda: found.address)
        yield found
        listening.shutdown()


@pytest.mark.parametrize(
    ("part", "changed", "said", "mend"),
    [
        ("pool", {"is_paused": True}, "the pool is paused", "switch it on in the UI"),
        ("queue", {"is_paused": True}, "the queue is paused", "switch it on in the UI"),
        (
            "worker",
            {"status": WorkerStatus.OFFLINE},
            "no worker is online for it",
            "`silentmix up` starts one, or `prefect worker start --pool gpu`",
        ),
        (
            "pool",
            {"concurrency_limit": 1, "active_slots": 1},
            "all slots of the pool are taken (1): they begin as those end",
            "",
        ),
        (
            "queue",
            {"concurrency_limit": 2, "active_slots": 2},
            "all slots of the queue are taken (2): they begin as those end",
            "",
        ),
        ("pool", {"concurrency_limit": 2, "active_slots": 1}, "a worker is online", "worker-gpu"),
    ],
)
def test_runs_that_should_have_begun(
    workspace: str, client: Client, part: str, changed: dict[str, Any], said: str, mend: str
) -> None:
    setattr(client, part, getattr(client, part).model_copy(update=changed))
    found = service_checks.waiting(workspace)
    assert f"pool gpu that should have begun: 2; {said}" in found.said
    assert mend in found.mend
    assert bool(found.mend) == bool(mend)
    client.runs.clear()
    assert not service_checks.waiting(workspace).mend


@pytest.mark.parametrize("ahead", [timedelta(minutes=-2), timedelta(minutes=2)])
def test_a_server_whose_clock_is_off(
    workspace: str, client: Client, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    assert not service_checks.clocks(workspace).mend
    monkeypatch.setattr(Server, "ahead", ahead)
    found = service_checks.clocks(workspace)
    assert f"at the server {client.address} it is" in found.said
    assert socket.gethostname() in found.said
    assert found.said.endswith("s apart")
    assert "NTP" in found.mend


def test_a_sign_of_life_that_is_still_to_come(workspace: str, client: Client) -> None:
    later = {"last_heartbeat_time": datetime.now(UTC) + timedelta(minutes=2)}
    client.worker = client.worker.model_copy(update=later)
    said = service_checks.clocks(workspace).said
    assert "the worker far of pool gpu was heard of at" in said
    assert "still to come" in said


def test_events_that_were_lost(workspace: str) -> None:
    folder = home_of(workspace) / "dlq"
    folder.mkdir()
    assert not wrong(workspace)
    # as Prefect 3.8 writes them
    message = '{"data": "{}", "attributes": {"id": "1", "event": "silentmix.score.completed"}}'
    for name in ("a", "b"):
        (folder / name).write_text(message)
    (folder / "c").write_text("cut")
    found = wrong(workspace)
    assert set(found) == {"events"}
    assert "lost: 3, the last at " in found["events"].said
    assert "silentmix.score.completed (2), unknown (1)" in found["events"].said
    assert f"then remove {folder}" in found["events"].mend
    assert "PostgreSQL" in found["events"].mend


@pytest.mark.parametrize(
    ("raised", "mend"),
    [
        ("(sqlite3.OperationalError) database is locked", "PostgreSQL"),
        ("(sqlite3.OperationalError) disk I/O error", "`silentmix down`, then `silentmix up`"),
    ],
)
def test_errors_that_the_server_logs_again_and_again(
    workspace: str, raised: str, mend: str
) -> None:
    log = home_of(workspace) / "standing-server.log"
    # as Prefect 3.8 logs it, the traceback shortened
    log.write_text(
        "".join(
            f"0{hour}:00:00.000 | ERROR   | prefect.server.events - Error in loop\n"
            "Traceback (most recent call last):\n"
            f"sqlalchemy.exc.OperationalError: {raised}\n"
            "[SQL: INSERT INTO events (occurred) VALUES (?)]\n"
            "(Background on this error at: https://sqlalche.me/e/20/e3q8)\n"
            for hour in range(3)
        )
    )
    ended = OwnProcess(pid=2**22 + 1, started_at=0.0, command=("python",), log=str(log))
    ServiceState(processes={"server": ended}).write(Path(workspace) / ".prefect")
    found = service_checks.server_log(workspace)
    assert found.said.startswith("3 errors alike from 00:00:00 to 02:00:00")
    assert mend in found.mend
