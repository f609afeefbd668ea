"""Take the pictures of the Prefect UI in ``docs/images/`` anew, from a service that is running.

``make screenshots`` wants `silentmix up` on a workspace that `silentmix demo` has finished,
playwright and a Chromium.
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 860}
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MAX_BYTES = 200_000


def main(address: str) -> None:
    """Photograph the four pages in both themes."""
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:
        for theme in ("light", "dark"):
            context = browser.new_context(viewport=SIZE, device_scale_factor=1)  # type: ignore[arg-type]
            context.add_init_script(f"localStorage['color-scheme'] = JSON.stringify('{theme}')")
            page = context.new_page()
            page.set_default_timeout(120_000)
            for name, (path, wanted, tab) in pages(address).items():
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


def pages(address: str) -> dict[str, tuple[str, str, str]]:
    """Of each page its path, a text that it shows once it is there, and the tab to open."""
    [form] = ask(address, "deployments", {"deployments": {"name": {"any_": ["score"]}}})
    [report, *_] = ask(
        address, "artifacts", {"artifacts": {"key": {"any_": ["comparison-report"]}}}
    )
    run = report["flow_run_id"]
    return {
        "runs": ("/runs", "evaluate", ""),
        "run": (f"/runs/flow-run/{run}", "comparison-report", "Artifacts"),
        "report": (f"/artifacts/artifact/{report['id']}", "SDR of each test song", ""),
        "form": (f"/deployments/deployment/{form['id']}/run", "Batch tracks", ""),
    }


def ask(address: str, what: str, filters: dict[str, Any]) -> Any:
    """The objects of one kind that the server has, newest first."""
    body = json.dumps(filters).encode()
    request = urllib.request.Request(
        f"{address}/api/{what}/filter", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def save(page: Page, path: Path) -> None:
    """Write what a page shows."""
    size = len(page.screenshot(path=path))
    if size > MAX_BYTES:
        raise SystemExit(f"{path}: {size} bytes, more than {MAX_BYTES}")
    print(f"{path.name}: {size // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1])
