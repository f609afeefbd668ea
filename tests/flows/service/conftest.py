"""A service that the files of this folder share: one takes half a minute of work to start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.service import registration
from tests.flows.conftest import Finished
from tests.flows.service.standing_service import COMPLAINT, LOG, Service, standing

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="package")
def service(pristine: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on a copy of the finished workspace, where another one ran before.

    Its tests leave what is registered as it was, and no run under way.
    """
    root = tmp_path_factory.mktemp("service") / "workspace"
    shutil.copytree(pristine.workspace.root, root)
    (root / ".prefect" / LOG).write_text(COMPLAINT * 3)
    with standing(root, PREFECT_WORKER_QUERY_SECONDS="1") as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[SyncPrefectClient]:
    with registration.server(service.address, service.login) as client:
        yield client


@pytest.fixture
def no_extraction(service: Service) -> Iterator[None]:
    """A corpus that is scored is left at that, so that no run begins which nobody waits for."""
    with registration.server(service.address, service.login) as client:
        [automation] = client.read_automations_by_name("silentmix: score, then extract")
        client.pause_automation(automation.id)
        yield
        client.resume_automation(automation.id)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A real browser; as long as it runs, Prefect and Dask think that they are called by a loop."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on PATH")
    from docs.screenshots import chromium

    with chromium() as browser:
        yield browser
