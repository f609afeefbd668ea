"""Who else is on this machine, or has a page open in its browser, can command nothing."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import distributed
import httpx
import psutil
import pytest
from distributed.security import Security
from prefect.client.orchestration import SyncPrefectClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from flows.running.execution import dask_client
from flows.running.parameters import WorkParameters
from flows.server.login import authorization, login_of
from flows.service import registration
from storage.errors import UserError
from storage.workspace import Workspace
from tests.flows.conftest import worker_processes
from tests.flows.service.standing_service import TIMEOUT_S, Service, standing

if TYPE_CHECKING:
    from playwright.sync_api import Request

ORIGIN = "http://example.com"
COMMAND = '{"parameters": {}, "job_variables": {"command": "touch /tmp/never"}}'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("guarded") / "workspace"
    Workspace(str(root), create=True)
    with standing(root) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[SyncPrefectClient]:
    with registration.server(service.address, service.login) as client:
        yield client


@pytest.fixture
def create_run(service: Service, client: SyncPrefectClient) -> Iterator[str]:
    """The address at which a run is created; none may come into being there."""
    deployment = client.read_deployment_by_name("extract/extract")
    before = {run.id for run in client.read_flow_runs()}
    yield f"{service.address}/api/deployments/{deployment.id}/create_flow_run"
    assert {run.id for run in client.read_flow_runs()} == before


@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
def test_a_page_of_another_origin_creates_no_run(create_run: str, kind: str) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": kind}
    answer = httpx.post(create_run, content=COMMAND, headers=headers)
    assert answer.status_code in {401, 403}
    asked = {**headers, "Access-Control-Request-Method": "POST"}
    allowed = httpx.options(create_run, headers=asked)
    assert "access-control-allow-origin" not in {*answer.headers, *allowed.headers}


@pytest.mark.parametrize(
    "path", ["flow_runs/filter", "block_documents/filter", "automations/filter", "admin/settings"]
)
def test_without_the_login_nothing_is_told(service: Service, path: str) -> None:
    address = f"{service.address}/api/{path}"
    for headers in ({}, authorization("silentmix:guess")):
        for answer in (httpx.get(address, headers=headers), httpx.post(address, headers=headers)):
            assert answer.status_code in {401, 403}
            assert "silentmix" not in answer.text
    assert httpx.get(f"{service.address}/api/health").json() is True


def test_with_the_login_but_no_token_nothing_changes(service: Service, create_run: str) -> None:
    answer = httpx.post(create_run, content=COMMAND, headers=authorization(service.login))
    assert answer.status_code == 403
    assert "CSRF" in answer.text


@pytest.mark.parametrize("path", ["api/health", "api/flow_runs/filter", "ui-settings", ""])
def test_a_name_that_points_here_is_refused(service: Service, path: str) -> None:
    headers = {"Host": f"evil.example:{service.port}", **authorization(service.login)}
    answer = httpx.get(f"{service.address}/{path}", headers=headers)
    assert answer.status_code == 400
    assert answer.text.startswith("This server answers to 127.0.0.1, localhost alone.")
    assert "`silentmix up --host`" in answer.text


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out"])
def test_a_websocket_without_the_login_gets_nothing(service: Service, path: str) -> None:
    address = f"ws://127.0.0.1:{service.port}/api/{path}"
    with connect(address, subprotocols=[Subprotocol("prefect")], origin=Origin(ORIGIN)) as socket:
        socket.send('{"type": "auth", "token": "silentmix:guess"}')
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=TIMEOUT_S)


def test_everything_listens_on_this_machine_alone(service: Service) -> None:
    listening = {
        connection.laddr.ip
        for process in service.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_what_the_server_keeps_is_for_its_user_alone(service: Service) -> None:
    assert stat.S_IMODE(service.home.stat().st_mode) == 0o700
    kept = list(service.home.rglob("*"))
    assert {"login", "prefect.db", "service.json", "worker-cpu.log"} <= {path.name for path in kept}
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    home = tmp_path / ".prefect"
    for folder in (home, home / "leases"):
        folder.mkdir(mode=0o755)
        (folder / "prefect.db").touch(0o644)
    login_of(home)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.rglob("*"))}
    assert modes == {".prefect": 0o700, "leases": 0o700, "prefect.db": 0o600, "login": 0o600}


def test_the_login_is_in_no_command_line_and_no_record(service: Service) -> None:
    password = service.login.partition(":")[2]
    assert not any(password in line for line in command_lines(service))
    found = [path for path in service.root.rglob("*") if path.is_file() and path.name != "login"]
    assert service.home / "prefect.db" in found
    assert not [path for path in found if password.encode() in path.read_bytes()]
    done = service.command("up")
    assert password not in done.stdout + done.stderr  # no person reads this, but a file
    assert str(service.home / "login") in done.stdout


def command_lines(service: Service) -> Iterator[str]:
    """Of all that the service started and still runs."""
    for process in service.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            yield " ".join(process.cmdline())


def test_a_login_is_made_once(tmp_path: Path) -> None:
    login = login_of(tmp_path)
    assert len(login) > 40
    assert login_of(tmp_path) == login
    (tmp_path / "login").write_text("")
    with pytest.raises(UserError, match="holds no login user:password; remove it"):
        login_of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/v2/"])
def test_a_person_logs_in(service: Service, path: str) -> None:
    """In both of Prefect's interfaces: a wrong login is refused, the right one kept.

    What the pages would ask of others, such as analytics, the browser asks nobody.
    """
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on PATH")
    from docs.screenshots import chromium

    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(1000 * TIMEOUT_S)
        ended: list[Request] = []
        for event in ("requestfinished", "requestfailed"):
            page.on(event, lambda request: ended.append(request))
        page.goto(service.address + path)
        form = page.locator("input[type=password]")
        for login, allowed in (("silentmix:guess", False), (service.login, True)):
            form.fill(login)
            with page.expect_response(lambda answer: "/api/admin/version" in answer.url) as answer:
                form.press("Enter")
            assert answer.value.ok == allowed
        form.wait_for(state="detached")
        page.goto(f"{service.address}{path}deployments")  # it is kept
        page.get_by_text("extract").first.wait_for()
    own = (service.address, f"blob:{service.address}", "data:")
    elsewhere = [each for each in ended if not each.url.startswith(own)]
    assert {each.failure for each in elsewhere} <= {"csp"}, [each.url for each in elsewhere]


@pytest.mark.slow
def test_a_page_in_a_real_browser_creates_no_run(tmp_path: Path, create_run: str) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on PATH")
    from docs.screenshots import chromium

    (tmp_path / "index.html").write_text("<h1>a nice page</h1>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other, chromium() as browser:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{other.server_port}/")
        attempt = """async ([address, body, mode, kind]) => {
            try {
                const answer = await fetch(address, {
                    method: "POST", mode, credentials: "include", body,
                    headers: {"Content-Type": kind},
                });
                return `${answer.type} ${answer.status}`;
            } catch (error) { return `${error}`; }
        }"""
        for mode, kind in (("no-cors", "text/plain"), ("cors", "text/plain"),
                           ("cors", "application/json")):  # fmt: skip
            seen = page.evaluate(attempt, [create_run, COMMAND, mode, kind])
            assert seen in {"opaque 0", "TypeError: Failed to fetch"}
        page.set_content(
            f'<form method="post" enctype="text/plain" action="{create_run}">'
            """<input name='{"parameters": {}, "a": "' value='b"}'><button>go</button></form>"""
        )
        with page.expect_response(create_run) as answer:
            page.get_by_role("button").click()
        assert answer.value.status in {401, 403}
        other.shutdown()


def greeting(address: str, context: ssl.SSLContext) -> bytes:
    """What a scheduler or worker of Dask says first to somebody with these credentials."""
    host, _, port = address.partition("://")[2].partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain) as secured,
    ):
        return secured.recv(1)


@pytest.fixture(scope="module")
def dask() -> Iterator[distributed.Client]:
    """A cluster as a stage starts it."""
    with worker_processes(), dask_client(WorkParameters(workers=1)) as client:
        yield client


def test_who_has_not_its_key_can_not_reach_the_dask_scheduler(dask: distributed.Client) -> None:
    own, foreign = (
        security.get_connection_args("client")["ssl_context"]
        for security in (dask.security, Security.temporary())
    )
    nobodys = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (foreign, nobodys):  # whose scheduler it is they do not ask
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    known = dask.scheduler_info()
    for address in (known["address"], *known["workers"]):
        assert address.startswith("tls://127.0.0.1:")
        assert greeting(address, own)
        for context in (foreign, nobodys):
            with pytest.raises(ssl.SSLError):
                greeting(address, context)
    assert dask.submit(sum, [1, 2]).result() == 3


def test_dask_listens_on_this_machine_alone(dask: distributed.Client) -> None:
    here, known = psutil.Process(), dask.scheduler_info()
    listening = {
        connection.laddr
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    ports = {int(address.rpartition(":")[2]) for address in (known["address"], *known["workers"])}
    assert ports <= {address.port for address in listening}
    # the tests' own Prefect server is among the children
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_work_in_this_process_needs_no_port_for_its_scheduler() -> None:
    with dask_client(WorkParameters(workers=1), in_process=True) as client:
        assert client.scheduler_info()["address"].startswith("inproc://")
        assert isinstance(client, distributed.Client)
