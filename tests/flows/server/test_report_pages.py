"""What the workspace's server shows of its reports, to whom, and what it keeps to itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from flows.server.report_pages import with_reports

LOGIN = ("silentmix", "secret")


async def prefect(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for the application beside which reports are shown."""
    await PlainTextResponse(f"prefect {scope['path']}")(scope, receive, send)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "workspace" / "reports" / "score-1"
    run.mkdir(parents=True)
    (run / "index.html").write_text("<h1>A report</h1>")
    (run / "a sound.mp3").write_bytes(bytes(100))
    (tmp_path / "workspace" / "workspace.json").write_text("{}")
    (run / "out.html").symlink_to(tmp_path / "workspace" / "workspace.json")
    return run.parent


@pytest.fixture
def client(folder: Path) -> TestClient:
    client = TestClient(with_reports(prefect, folder, ":".join(LOGIN)))
    client.auth = LOGIN
    return client


def test_a_report_and_what_it_shows(client: TestClient) -> None:
    shown = client.get("/reports/score-1/")
    assert shown.text == "<h1>A report</h1>"
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    part = client.get("/reports/score-1/a%20sound.mp3", headers={"range": "bytes=10-19"})
    assert (part.status_code, len(part.content)) == (206, 10), "a player jumps"
    assert client.get("/runs").text == "prefect /runs"


@pytest.mark.parametrize(
    "path",
    [
        "/reports/score-2/", "/reports/..%2fworkspace.json", "/reports/%2e%2e/workspace.json",
        "/reports/score-1/out.html", "/reports//etc/passwd", "/reports/score-1/%00",
    ],
)  # fmt: skip
def test_nothing_else(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_nobody_without_the_login(folder: Path) -> None:
    app = with_reports(prefect, folder, ":".join(LOGIN))
    for auth in (None, ("silentmix", "guess"), ("sílentmix", "secret")):
        refused = TestClient(app).get("/reports/score-1/", auth=auth)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert "report" not in refused.text


def test_before_the_first_report(tmp_path: Path) -> None:
    client = TestClient(with_reports(prefect, tmp_path / "reports", ""))
    assert client.get("/reports/score-1/").status_code == 404
