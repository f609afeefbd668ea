"""A schedule that is switched on makes runs that complete; `doctor` sees one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule

from flows.cli.service_commands import EXIT_WRONG
from flows.server.deployed import FORM
from flows.service import registration
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
    with standing(Path(finished.workspace.location), PREFECT_WORKER_QUERY_SECONDS="1") as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[SyncPrefectClient]:
    with registration.server(service.address, service.login) as client:
        yield client


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


def test_doctor_sees_a_server_that_complains_again_and_again(service: Service) -> None:
    log = service.home / LOG
    assert COMPLAINT in log.read_text()  # of an earlier server, and over
    with log.open("a") as file:
        file.write(COMPLAINT * 2)
    assert service.command("doctor").returncode == 0
    with log.open("a") as file:
        file.write(COMPLAINT.replace("15ms", "9ms"))
    done = service.command("doctor")
    assert done.returncode == EXIT_WRONG
    assert "3 errors alike from 03:00:00 to 03:00:00" in done.stdout
    assert "schedule_deployments: RuntimeError: no" in " ".join(done.stdout.split())
