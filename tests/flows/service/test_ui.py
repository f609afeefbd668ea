"""What a person does in the Prefect UI, done in a real browser to a real service."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import psutil
import pytest

from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.service import registration
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import Corpus, Finished, play, write
from tests.flows.running.held_track import held
from tests.flows.service.standing_service import TIMEOUT_S, Service, standing

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if shutil.which("chromium") is None:
    pytest.skip("no chromium on PATH", allow_module_level=True)

from docs.screenshots import chromium, log_in  # noqa: E402  it wants playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser, HttpCredentials, Locator, Page

pytestmark = pytest.mark.slow
CORPUS, TRACKS = "second", 12
BUSY = 503
PATIENCE_MS = 1000 * TIMEOUT_S
STILL = """addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = "* { animation: none !important; transition: none !important }";
    document.head.append(style);
});"""
"""What turns while a page waits is drawn on the cores that it waits for."""
COLOURS = """async (image) => {
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}"""
"""How many colours an image shows."""


@pytest.fixture(scope="module")
def service(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on the finished workspace, with a second corpus that is not scored."""
    root, music = Path(finished.workspace.location), tmp_path_factory.mktemp("ui") / CORPUS
    for index in range(TRACKS):
        write(music / f"{index}.wav", np.sum(list(play(1000 + index).values()), axis=0))
    # before there is a service, on which scoring would follow by itself
    ingest(IngestParameters(workspace=str(root), corpus=CORPUS, source=str(music), workers=1))
    with standing(root, PREFECT_WORKER_QUERY_SECONDS="1") as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """A page of the service's UI."""
    with browser.new_context(base_url=service.address) as context:
        context.set_default_timeout(PATIENCE_MS)
        log_in(context, service.login)
        context.add_init_script(STILL)
        yield context.new_page()


def open_run_form(page: Page, deployment: str) -> None:
    page.goto("/deployments")
    links = page.locator("a[href*='/deployments/deployment/']")  # not that of the flow of this name
    links.filter(has_text=re.compile(f"^\\s*{deployment}\\s*$")).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()


def fill(page: Page, **fields: str) -> None:
    """Fill in fields of a run form, by their names there."""
    for name, value in fields.items():
        title = page.get_by_text(f"{name.capitalize().replace('_', ' ')} (Optional)", exact=True)
        field = page.locator(".schema-form-property").filter(has=title).last
        field.locator("input, textarea").fill(value)


def submit(page: Page) -> None:
    insist(page, "/create_flow_run", page.get_by_role("button", name="Submit"))


def confirm(page: Page, action: str, confirmation: str) -> None:
    """Click a button of a run, and another in the dialog that opens."""
    button = page.get_by_role("button", name=action, exact=True)
    dialog = page.get_by_role("dialog").get_by_role("button", name=confirmation, exact=True)
    insist(page, "/set_state", button, dialog)


def insist(page: Page, address: str, *buttons: Locator) -> None:
    """Click, and again as long as the server says that its database is busy, as a person would."""
    status = BUSY
    while status == BUSY:
        with page.expect_response(lambda answer: answer.url.endswith(address)) as answer:
            for button in buttons:
                button.click()
        status = answer.value.status


def open_artifact(page: Page, key: str) -> None:
    """Open an artifact of the run that a page shows."""
    open_tab(page, "Artifacts")
    artifact(page, key).click()


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("listitem").filter(has_text=re.compile(f"^{name}$")).click()


def artifact(page: Page, key: str) -> Locator:
    """The card of an artifact."""
    return page.get_by_role("link").filter(has_text=key).first


def wait_for_state(page: Page, name: str) -> None:
    """Wait until the run that a page shows is in a state."""
    sync_api.expect(page.locator(".state-badge").first).to_have_text(name)


def parts(root: Path) -> dict[Path, int]:
    """The parts of the corpus's scores, and when each was written."""
    found = root.glob(f"manifests/scores/corpus={CORPUS}/*/*.parquet")
    return {path: path.stat().st_mtime_ns for path in found}


def flow_runs(service: Service) -> set[UUID]:
    """Every run that the server knows."""
    with registration.server(service.address, service.login) as client:
        return {run.id for run in client.read_flow_runs()}


def num_done(card: Locator) -> int:
    """How many tracks a progress artifact says are done."""
    found = re.search(rf"score: (\d+) of {TRACKS}", card.inner_text())
    assert found is not None, card.inner_text()
    return int(found[1])


def test_a_value_out_of_range_is_refused_with_its_message(page: Page, service: Service) -> None:
    before = flow_runs(service)
    open_run_form(page, "score")
    fill(page, corpus=CORPUS, batch_tracks="0")
    submit(page)
    message = page.get_by_text(
        "'parameters.batch_tracks'. Failure reason: 0 is less than the minimum of 1"
    )
    sync_api.expect(message.last).to_be_visible()
    assert page.url.partition("?")[0].endswith("/run")  # still the form, to be mended
    assert flow_runs(service) == before


def test_a_run_is_started_watched_cancelled_continued_and_looked_at(
    page: Page, service: Service
) -> None:
    idle = set(service.processes())
    tracks = list((service.root / "audio" / CORPUS).rglob("*.wav"))
    with held(*tracks[:2]) as [first, _]:
        open_run_form(page, "score")
        fill(page, corpus=CORPUS, batch_tracks="1", workers="2")
        submit(page)
        page.wait_for_url("**/deployments/deployment/*?tab=Runs")
        page.get_by_role("button", name="View run").last.click()
        page.wait_for_url("**/runs/flow-run/*")

        open_tab(page, "Artifacts")
        card = artifact(page, "score-progress")
        card.wait_for()
        for _ in range(2):  # as long as the page takes to ask again, so that progress is due
            page.wait_for_event("response", lambda answer: "artifacts/filter" in answer.url)
        before = num_done(card)
        first.release()
        sync_api.expect(card).not_to_contain_text(f"score: {before} of")
        assert before < num_done(card) < TRACKS

        of_the_run = set(service.processes()) - idle
        assert any("multiprocessing.spawn" in " ".join(each.cmdline()) for each in of_the_run)
        confirm(page, "Cancel", "Confirm")
        wait_for_state(page, "Cancelled")
        _, left = psutil.wait_procs(of_the_run, timeout=TIMEOUT_S)
        assert not left
        # Prefect looked for hooks in the flow's module, and found the module
        assert "hooks" not in (service.home / "worker-gpu.log").read_text()
        done = parts(service.root)
        assert 0 < len(done) < TRACKS

    confirm(page, "Retry", "Retry")
    wait_for_state(page, "Completed")
    assert parts(service.root).items() > done.items()
    manifests = Manifests(Workspace(str(service.root)))
    [scores] = manifests.partitions("scores", CORPUS)
    scored = [row["track_id"] for row in manifests.rows(scores, ["track_id"])]
    assert sorted(scored) == sorted(path.stem for path in tracks)

    open_artifact(page, "score-report")
    plot = page.locator("img[src^='data:image/png']").first
    plot.wait_for()
    assert plot.evaluate("image => image.naturalWidth") > 0
    assert plot.evaluate(COLOURS) > 2


def test_what_was_extracted_is_heard(page: Page, service: Service, corpus: Corpus) -> None:
    config = corpus.config(service.root)
    done = service.command("extract", "--config", str(config), "--force")
    assert done.returncode == 0, done.stderr
    page.goto("/runs")
    page.get_by_role("link", name="extract music").first.click()
    open_artifact(page, "extract-report")
    player = page.locator("audio").first
    player.focus()
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0")


def test_an_audit_is_answered_by_keyboard_beside_the_ui(browser: Browser, service: Service) -> None:
    """All else of that page: tests/flows/audit/test_desk_page.py."""
    told = service.command("audit", "--corpus", "music", "--draws", "4", "--listen")
    address = told.stdout.splitlines()[-1].removeprefix("listen and answer: ")
    assert address.startswith(f"{service.address}/reports/by-ear/music/?draws=4&segments=")
    user, _, password = service.login.partition(":")
    login: HttpCredentials = {"username": user, "password": password}
    with browser.new_context(http_credentials=login) as context:
        page = context.new_page()
        page.goto(address)
        status = page.locator("#status")
        sync_api.expect(status).to_contain_text("segment 1 of")
        page.keyboard.press("y")
        sync_api.expect(status).to_contain_text("segment 2 of")
    manifests = Manifests(Workspace(str(service.root)))
    [audit] = manifests.partitions("audits", "music")
    assert [row["answer"] for row in manifests.rows(audit)] == ["silent"]
