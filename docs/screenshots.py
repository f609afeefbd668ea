"""Take the pictures of the Prefect UI in ``docs/images/`` anew, from a service that is running.

``make screenshots`` wants ``silentmix up`` on a workspace that ``silentmix demo`` has finished,
playwright and a Chromium.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    DeploymentFilter,
    DeploymentFilterName,
)
from prefect.client.schemas.sorting import ArtifactSort

from flows.server.login import login_of
from flows.service.registration import server
from flows.service.state import service_home

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 860}
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MAX_BYTES = 200_000


def main(address: str, workspace: str) -> None:
    """Photograph the four pages in both themes."""
    login = login_of(service_home(workspace, os.environ))
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:
        for theme in ("light", "dark"):
            context = browser.new_context(viewport=SIZE, device_scale_factor=1)  # type: ignore[arg-type]
            log_in(context, login)
            context.add_init_script(f"localStorage['color-scheme'] = JSON.stringify('{theme}')")
            page = context.new_page()
            page.set_default_timeout(120_000)
            for name, (path, wanted, tab) in pages(address, login).items():
                page.goto(address + path)
                if tab:
                    page.get_by_text(tab, exact=True).first.click()
                page.get_by_text(wanted).first.wait_for()
                page.wait_for_load_state("networkidle")
                save(page, IMAGES / f"{name}-{theme}.png")
            context.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine, without a window; the tests of the UI drive it too."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("no chromium on PATH; install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def log_in(context: BrowserContext, login: str) -> None:
    """Have a browser's pages know a login, as they do once a person has given it."""
    kept = base64.b64encode(login.encode()).decode()
    context.add_init_script(f"localStorage['prefect-password'] = '{kept}'")


def pages(address: str, login: str) -> dict[str, tuple[str, str, str]]:
    """Of each page its path, a text that it shows once it is there, and the tab to open."""
    with server(address, login) as client:
        [form] = client.read_deployments(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["score"]))
        )
        [report, *_] = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["comparison-report"])),
            sort=ArtifactSort.CREATED_DESC,
        )
    run = report.flow_run_id
    return {
        "runs": ("/runs", "evaluate", ""),
        "run": (f"/runs/flow-run/{run}", "comparison-report", "Artifacts"),
        "report": (f"/artifacts/artifact/{report.id}", "SDR of each test song", ""),
        "form": (f"/deployments/deployment/{form.id}/run", "Batch tracks", ""),
    }


def save(page: Page, path: Path) -> None:
    """Write what a page shows."""
    size = len(page.screenshot(path=path))
    if size > MAX_BYTES:
        raise SystemExit(f"{path}: {size} bytes, more than {MAX_BYTES}")
    print(f"{path.name}: {size // 1000} kB")


if __name__ == "__main__":
    main(*sys.argv[1:3])
