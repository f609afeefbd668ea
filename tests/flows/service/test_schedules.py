"""A schedule that is switched on makes runs that complete; `doctor` sees one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Scheduled

from flows.cli.main import EXIT_USER_ERROR
from flows.cli.service_commands import EXIT_WRONG
from flows.server.deployed import FORM
from flows.server.hosts import EVERYWHERE
from flows.server.login import authorization
from flows.service import registration
from flows.service.state import ServiceState
from flows.service.waiting_runs import waiting_runs
from storage.tables.manifests import Manifests
from tests.flows.conftest import Finished, mix, play, write
from tests.flows.service.standing_service import Service, standing, wait_for

LOG = "standing-server.log"
COMPLAINT = """\
03:00:00.000 | ERROR   | docket - [   15ms] schedule_deployments
Traceback (most recent call last):
RuntimeError: no
"""


@pytest.fixture(scope="module")
def service(finished: Finished) -> Iterator[Service]:
    home = Path(finished.workspace.location) / ".prefect"
    home.mkdir(exist_ok=True)
    (home / LOG).write_text(COMPLAINT * 3)
    root = Path(finished.workspace.location)
    # other machines may come to its UI, which changes nothing for commands and workers here
    with standing(root, "--host", EVERYWHERE, PREFECT_WORKER_QUERY_SECONDS="3") as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[SyncPrefectClient]:
    with registration.server(service.address, service.login) as client:
        yield client


def test_other_machines_may_come_in_with_the_login(service: Service) -> None:
    listening = {
        connection.laddr.ip
        for process in service.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == service.port
    }
    assert listening == {EVERYWHERE}
    elsewhere = {"Host": f"studio.lan:{service.port}"}
    settings = f"{service.address}/api/admin/settings"
    assert httpx.get(settings, headers=elsewhere).status_code == 401
    answer = httpx.get(settings, headers={**elsewhere, **authorization(service.login)})
    assert answer.status_code == 200
    assert service.up_again() == []
    assert ServiceState.read(service.home).host == EVERYWHERE
    done = service.command("up", "--host", "127.0.0.1")
    assert done.returncode == EXIT_USER_ERROR
    assert (
        f"the server runs at {service.address} and listens on {EVERYWHERE} already; `silentmix "
        f"down`, then `silentmix up --host 127.0.0.1 --port {service.port}` moves it"
    ) in done.stderr


@pytest.mark.slow
def test_a_schedule_fires_and_its_run_completes(
    service: Service,
    client: SyncPrefectClient,
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path / "tonight.wav", mix(play(900)))
    deployment = client.read_deployment_by_name("ingest/ingest")
    form = {"workspace": str(service.root), "corpus": "nightly", "source": str(tmp_path),
            "workers": 1}  # fmt: skip
    client._client.patch(f"/deployments/{deployment.id}", json={"parameters": {FORM: form}})
    often = IntervalSchedule(interval=timedelta(seconds=20), anchor_date=datetime.now(UTC))
    schedule = DeploymentScheduleCreate(schedule=often, active=True)
    [made] = client.create_deployment_schedules(deployment.id, [schedule])

    def completed() -> list[FlowRun]:
        return [
            run for run in client.read_flow_runs()
            if run.deployment_id == deployment.id and run.auto_scheduled
            and run.state is not None and run.state.is_completed()
        ]  # fmt: skip

    wait_for(completed, lambda: (service.home / LOG).read_text()[-2000:])
    monkeypatch.setattr(registration, "SEEN_AFTER", -timedelta(minutes=1))
    assert registration.planned_runs(client) == {"ingest": 1}
    client.delete_deployment_schedule(deployment.id, made.id)
    manifests = Manifests(finished.workspace)
    [partition] = manifests.partitions("tracks", "nightly")
    assert manifests.count(partition) == 1
    assert "Can't evaluate" not in (service.home / LOG).read_text()


def test_doctor_sees_a_schedule_that_plans_nothing(
    service: Service, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "none is switched on" in service.command("doctor").stdout
    deployment = client.read_deployment_by_name("extract/extract")
    # it is over, so that nothing will ever be planned; to a user it looks like a broken scheduler
    ended = {"rrule": "DTSTART:20200101T000000\nRRULE:FREQ=DAILY;COUNT=1", "timezone": "UTC"}
    client._client.post(
        f"/deployments/{deployment.id}/schedules", json=[{"active": True, "schedule": ended}]
    )
    assert registration.planned_runs(client) == {}  # it was switched on just now
    monkeypatch.setattr(registration, "SEEN_AFTER", -timedelta(minutes=1))
    assert registration.planned_runs(client) == {"extract": 0}
    client.pause_deployment(deployment.id)
    assert registration.planned_runs(client) == {}


def test_doctor_sees_runs_that_wait(client: SyncPrefectClient) -> None:
    deployment = client.read_deployment_by_name("ingest/ingest")
    pool = deployment.work_pool_name
    assert pool is not None
    limit = client.read_work_pool(pool).concurrency_limit
    client.update_work_pool(pool, WorkPoolUpdate(is_paused=True))
    due: State[None] = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=5))
    form = {**deployment.parameters[FORM], "source": "/music"}
    run = client.create_flow_run_from_deployment(deployment.id, parameters={FORM: form}, state=due)
    try:
        [found] = waiting_runs(client)
        assert found.said == f"runs of pool {pool} that should have begun: 1; the pool is paused"
        client.update_work_pool(pool, WorkPoolUpdate(is_paused=False, concurrency_limit=0))
        [found] = waiting_runs(client)
        assert "; all slots of the pool are taken (0): they begin as those end" in found.said
    finally:
        client.delete_flow_run(run.id)
        client.update_work_pool(pool, WorkPoolUpdate(is_paused=False, concurrency_limit=limit))
    assert waiting_runs(client) == []


def test_doctor_sees_a_server_that_complains_again_and_again(service: Service) -> None:
    log = service.home / LOG
    assert COMPLAINT in log.read_text()  # of an earlier server, and over
    with log.open("a") as file:
        file.write(COMPLAINT * 2)
    assert service.command("doctor").returncode == 0
    with log.open("a") as file:
        file.write(COMPLAINT.replace("15ms", "9ms") * 50)  # this server may have some of its own
    done = service.command("doctor")
    assert done.returncode == EXIT_WRONG
    assert "52 errors alike from 03:00:00 to 03:00:00" in done.stdout
    assert "schedule_deployments: RuntimeError: no" in " ".join(done.stdout.split())
