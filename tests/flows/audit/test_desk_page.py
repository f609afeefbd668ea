"""An audit answered by keyboard, in a real browser, of the command that no service runs beside."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.server.login import login_of
from storage.workspace import Workspace
from tests.flows.audit.heard_corpus import answers, heard_corpus

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if shutil.which("chromium") is None:
    pytest.skip("no chromium on PATH", allow_module_level=True)

from docs.screenshots import chromium  # noqa: E402  it wants playwright

if TYPE_CHECKING:
    from playwright.sync_api import HttpCredentials, Page

pytestmark = pytest.mark.slow
TIMEOUT_S = 120


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return heard_corpus(tmp_path / "workspace")


@pytest.fixture
def listening(workspace: Workspace) -> Iterator[subprocess.Popen[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    command = [
        sys.executable, "-m", "flows.cli", "audit", "--listen", "--workspace", workspace.location,
        "--corpus", "live", "--draws", "200", "--strata", "1",
    ]  # fmt: skip
    with subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def page(listening: subprocess.Popen[str], workspace: Workspace) -> Iterator[Page]:
    assert listening.stdout is not None
    said = [listening.stdout.readline() for _ in range(2)]
    home = Path(workspace.location, ".prefect")
    assert said[0] == f"its login is in {home}/login\n"
    address = said[1].removeprefix("listen and answer: ").strip()
    assert address.startswith("http://127.0.0.1:")
    user, _, password = login_of(home).partition(":")
    login: HttpCredentials = {"username": user, "password": password}
    sync_api.expect.set_options(timeout=1000 * TIMEOUT_S)
    with chromium() as browser, browser.new_context(http_credentials=login) as context:
        made = context.new_page()
        problems: list[str] = []
        made.on("pageerror", lambda error: problems.append(str(error)))
        made.on("console", lambda line: problems.append(f"{line.type}: {line.text}"))
        made.goto(address)
        yield made
        assert problems == [], "nothing that the page wants is refused it"


def test_answers_by_keyboard_are_in_the_manifest(
    page: Page, listening: subprocess.Popen[str], workspace: Workspace
) -> None:
    expect, question, status = sync_api.expect, page.locator("#question"), page.locator("#status")
    expect(status).to_contain_text("segment 1 of 12, 1.0 s; 12 to answer")
    asked = (question.text_content() or "").removeprefix("Is ").removesuffix(" silent?")
    assert asked in workspace.music.sources
    picture, head = page.locator("#picture img"), page.locator("#head")
    expect(picture).to_have_js_property("naturalHeight", 128)
    expect(page.locator("#band")).to_be_visible()
    side = page.locator("#before")
    expect(side).to_have_attribute("style", "width: 40%;")  # of five seconds two are before it
    page.keyboard.press(" ")  # it plays, again and again
    expect(head).to_be_visible()
    began = head.get_attribute("style") or ""
    expect(head).not_to_have_attribute("style", began)
    page.keyboard.press("s")
    expect(page.get_by_role("button", name="segment alone")).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(head).to_have_attribute("style", re.compile(r"left: [45]\d\b"))
    page.keyboard.press("l")  # once, and no more
    expect(head).to_be_hidden()
    for number, key in enumerate("ynyyyyyyyy?", 1):
        page.keyboard.press(key)
        expect(status).to_contain_text(f"{12 - number} to answer")
        assert len(answers(workspace)) == number, "kept before the next one is asked"
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("button", name="can't tell")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("n")
    expect(status).to_contain_text("segment 12 of 12")
    page.get_by_role("button", name="silent", exact=False).first.click()
    expect(question).to_have_text("All is answered")
    expect(page.locator("#said table tr")).to_have_count(3)
    assert sorted(answers(workspace).values()) == ["heard", "heard", *["silent"] * 10]
    audit = (status.text_content() or "").rpartition(" ")[2]
    listening.send_signal(signal.SIGINT)
    assert listening.stdout is not None
    told = listening.stdout.read()
    use = f"extract --corpus live --audit {audit} --workspace {workspace.location}"
    assert told.startswith(f"audit {audit}; use it: `silentmix {use}`")
    assert listening.wait(TIMEOUT_S) == 0
