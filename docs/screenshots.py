"""Take the pictures of the Prefect UI in ``docs/images/`` anew, from a service that is running.

``make screenshots`` wants ``silentmix up`` on a workspace that ``silentmix demo`` has finished,
playwright and a Chromium.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import (
    Browser,
    BrowserContext,
    HttpCredentials,
    Page,
    ViewportSize,
    sync_playwright,
)
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

from flows.server.login import login_of
from flows.service.registration import server
from flows.service.state import service_home

IMAGES = Path(__file__).parent / "images"
SIZE: ViewportSize = {"width": 1280, "height": 860}
INTERFACES = {"v1": "", "v2": "/v2"}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MAX_BYTES = 200_000


def main(address: str, workspace: str) -> None:
    """Photograph four pages of both interfaces, and a report's own page, in both themes."""
    login = login_of(service_home(workspace, os.environ))
    report = last_comparison(address, login)
    shots = pages(address, login, report)
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:
        for theme in THEMES:
            context = browser.new_context(
                viewport=SIZE,
                device_scale_factor=1,
                color_scheme=theme,
                http_credentials=credentials(login),
            )
            log_in(context, login)
            context.add_init_script(f"localStorage['color-scheme'] = JSON.stringify('{theme}')")
            page = context.new_page()
            page.set_default_timeout(120_000)
            for interface, base in INTERFACES.items():
                for name, (path, wanted, tab) in shots.items():
                    page.goto(address + base + path)
                    if tab:
                        page.get_by_text(tab, exact=True).first.click()
                    page.get_by_text(wanted).first.wait_for()
                    save(page, IMAGES / f"{name}-{interface}-{theme}.png")
            page.goto(address + own_page(report))
            save(page, IMAGES / f"page-{theme}.png")
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


def credentials(login: str) -> HttpCredentials:
    """What a person gives the browser that asks for the login of the reports."""
    user, _, password = login.partition(":")
    return {"username": user, "password": password}


def last_comparison(address: str, login: str) -> Artifact:
    """The report of the last evaluation."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["comparison-report"]))
    with server(address, login) as client:
        [report, *_] = client.read_artifacts(
            artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1
        )
    return report


def pages(address: str, login: str, report: Artifact) -> dict[str, tuple[str, str, str]]:
    """Of each page its path, a text that it shows once it is there, and the tab to open."""
    with server(address, login) as client:
        form = client.read_deployment_by_name("train/train")
    return {
        "runs": ("/runs", "evaluate", ""),
        "run": (f"/runs/flow-run/{report.flow_run_id}", "comparison-report", "Artifacts"),
        "report": (f"/artifacts/artifact/{report.id}", "SDR of each test song", ""),
        "form": (f"/deployments/deployment/{form.id}/run", "Weak share", ""),
    }


def own_page(report: Artifact) -> str:
    """Where a report is shown with its players, on every interface's server."""
    found = re.search(r"\]\((/reports/[^)]+)\)", str(report.data))
    if found is None:
        raise SystemExit("the last report is of a run that this server's workspace does not hold")
    return found[1]


def save(page: Page, path: Path) -> None:
    """Write what a page shows once all of it has come."""
    page.wait_for_load_state("networkidle")
    size = len(page.screenshot(path=path))
    if size > MAX_BYTES:
        raise SystemExit(f"{path}: {size} bytes, more than {MAX_BYTES}")
    print(f"{path.name}: {size // 1000} kB")


if __name__ == "__main__":
    main(*sys.argv[1:3])
