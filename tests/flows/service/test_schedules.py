"""A schedule that is switched on makes runs that complete; `doctor` sees one that does not."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Scheduled

from flows.catalogue import BY_NAME
from flows.cli.service_commands import EXIT_WRONG
from flows.server.deployed import FORM
from flows.service import registration
from storage.manifests import Manifests
from storage.runs import last_runs
from storage.workspace import Workspace
from tests.flows.conftest import mix, play, write
from tests.flows.service.standing_service import COMPLAINT, LOG, Service, wait_for


def state_of(client: SyncPrefectClient, run_id: UUID) -> State:
    state = client.read_flow_run(run_id).state
    assert state is not None
    return state


def runs_of(client: SyncPrefectClient, deployment_id: UUID) -> list[FlowRun]:
    of_the_deployment = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
    return client.read_flow_runs(deployment_filter=of_the_deployment)


def runs(client: SyncPrefectClient) -> list[FlowRun]:
    return client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200)


def ended(client: SyncPrefectClient, name: str) -> FlowRun | None:
    for run in runs(client):
        if run.name == name and run.state is not None and run.state.is_final():
            return run
    return None


@pytest.mark.slow
@pytest.mark.usefixtures("no_extraction")
def test_a_schedule_of_0_1_0_is_mended_and_fires_and_the_corpus_is_scored_by_itself(
    service: Service, client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nightly ingest of 0.1.0, and a deployment that somebody made, run on after an upgrade."""
    write(tmp_path / "tonight.wav", mix(play(310)))
    found = client.read_deployment_by_name("ingest/ingest")
    before = {"entrypoint": "flows.ingest.ingest", "version": "0.1.0+12345678"}
    form = {"workspace": str(service.root), "source": str(tmp_path), "corpus": "nightly",
            "workers": 1}  # fmt: skip
    scores = client.read_deployment_by_name("score/score")
    chosen = {FORM: {**scores.parameters[FORM], "batch_tracks": 3}}
    client.update_deployment(scores.id, DeploymentUpdate(parameters=chosen))
    client._client.patch(
        f"/deployments/{found.id}",
        json={
            **before,
            "parameters": {FORM: form},
            "job_variables": {"env": {"PROXY": "here"}},
            "schedules": [{
                "schedule": {"interval": 3600, "anchor_date": "2026-01-01T00:00:00Z"},
                "active": True, "slug": "hourly", "parameters": {FORM: {**form, "gone": 1}},
            }],
        },
    ).raise_for_status()  # fmt: skip
    own = client.create_deployment(
        found.flow_id,
        "second",
        entrypoint="flows/ingest.py:ingest",
        parameters={FORM: form},
        work_pool_name="cpu",
        job_variables={"env": {"OWN": "1"}},
    )
    try:
        said = service.up_again()
        assert said == ["registered: deployment ingest/ingest",
                        "registered: deployment ingest/second"]  # fmt: skip
        mended, second = client.read_deployment(found.id), client.read_deployment(own)
        assert mended.entrypoint == second.entrypoint == BY_NAME["ingest"].flow
        assert mended.parameters == second.parameters == {FORM: form}
        assert mended.job_variables == {"env": {"PROXY": "here"}}
        assert second.job_variables == {"env": {"OWN": "1"}}
        schedules = {each.slug: each for each in mended.schedules}
        assert {slug: each.active for slug, each in schedules.items()} == {
            "nightly": False, "hourly": True,
        }  # fmt: skip
        assert schedules["hourly"].parameters == {FORM: form}
        run, *_ = wait_for(lambda: runs_of(client, found.id))
        assert run.auto_scheduled
        # the first that the schedule planned, now: as the button in the UI does
        now: State[None] = Scheduled(scheduled_time=datetime.now(UTC))
        client.set_flow_run_state(run.id, now, force=True)
        wait_for(
            lambda: state_of(client, run.id).is_final(),
            lambda: (service.home / LOG).read_text()[-2000:],
        )
        assert state_of(client, run.id).is_completed()
        manifests = Manifests(Workspace(str(service.root)))
        assert manifests.count(manifests.latest("tracks", "nightly")) == 1
        monkeypatch.setattr(registration, "SEEN_AFTER", -timedelta(minutes=1))
        assert registration.planned_runs(client) == {"ingest": 1}
        assert service.up_again() == []
    finally:
        client.delete_deployment(own)
        client.delete_deployment(found.id)
        service.up_again()
    assert "Can't evaluate" not in (service.home / LOG).read_text()

    scored = wait_for(
        lambda: ended(client, "score nightly"),
        lambda: [(each.name, each.state) for each in runs(client)],
    )
    assert scored.state.is_completed(), scored.state
    assert scored.deployment_id == scores.id
    assert manifests.partitions("scores", "nightly")
    [recorded] = last_runs(manifests, ["score"])[-1:]
    told = json.loads(recorded.parameters)
    assert (recorded.corpus, told["batch_tracks"]) == ("nightly", 3), "as the deployment was set"
    client.update_deployment(scores.id, DeploymentUpdate(parameters=scores.parameters))
    # one at a time, and the turn is over
    limits = client.read_global_concurrency_limits(limit=200)
    assert {f"silentmix:{stage}:nightly" for stage in ("ingest", "score")} <= {
        limit.name.rpartition(":")[0] for limit in limits
    }
    assert not ended(client, "score labelled")


def test_doctor_sees_a_schedule_that_plans_nothing(
    service: Service, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "none is switched on" in service.command_here("doctor")[1]
    deployment = client.read_deployment_by_name("extract/extract")
    # it is over, so that nothing will ever be planned; to a user it looks like a broken scheduler
    ended = {"rrule": "DTSTART:20200101T000000\nRRULE:FREQ=DAILY;COUNT=1", "timezone": "UTC"}
    [made] = client._client.post(
        f"/deployments/{deployment.id}/schedules", json=[{"active": True, "schedule": ended}]
    ).json()
    try:
        assert registration.planned_runs(client) == {}  # it was switched on just now
        monkeypatch.setattr(registration, "SEEN_AFTER", -timedelta(minutes=1))
        assert registration.planned_runs(client) == {"extract": 0}
        client.pause_deployment(deployment.id)
        assert registration.planned_runs(client) == {}
    finally:
        client.delete_deployment_schedule(deployment.id, UUID(made["id"]))
        client.resume_deployment(deployment.id)


def test_doctor_sees_a_server_that_complains_again_and_again(service: Service) -> None:
    log = service.home / LOG
    assert COMPLAINT in log.read_text()  # of an earlier server, and over
    size = log.stat().st_size
    try:
        with log.open("a") as file:
            file.write(COMPLAINT * 2)
        said = service.command_here("doctor")[1]
        assert re.search("^ok +server log", said, re.MULTILINE), said
        with log.open("a") as file:
            file.write(COMPLAINT.replace("15ms", "9ms"))
        status, said = service.command_here("doctor")
    finally:
        os.truncate(log, size)
    assert status == EXIT_WRONG
    assert "3 errors alike from 03:00:00 to 03:00:00" in said
    assert "schedule_deployments: RuntimeError: no" in " ".join(said.split())
