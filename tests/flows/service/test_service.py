"""The standing service: what ``up`` starts, and what happens by itself on it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psutil
import pytest
from packaging.version import Version
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import AutomationSort, FlowRunSort
from prefect.events import Event, RelatedResource, Resource
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Running, Scheduled, Suspended

from flows.catalogue import BY_NAME, POOLS
from flows.cli.main import EXIT_USER_ERROR
from flows.cli.service_commands import EXIT_WRONG
from flows.extract.flow import extract
from flows.server.announcements import TAG
from flows.server.deployed import FORM
from flows.service import automations, deployments, registration
from flows.service.state import ServiceState
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import Finished, play, write
from tests.flows.service.standing_service import TIMEOUT_S, Service, standing, wait_for


@pytest.fixture(scope="module")
def service(finished: Finished) -> Iterator[Service]:
    """A service on the finished workspace."""
    root = Path(finished.workspace.location)
    with standing(root, PREFECT_WORKER_QUERY_SECONDS="3") as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[SyncPrefectClient]:
    with registration.server(service.address, service.login) as client:
        yield client


def state_of(client: SyncPrefectClient, run_id: UUID) -> State:
    state = client.read_flow_run(run_id).state
    assert state is not None
    return state


def process_of(service: Service, run: FlowRun, script: str) -> psutil.Process | None:
    """The process of a run that runs a script of Prefect's: of another's the same may be there."""
    for process in service.processes():
        with suppress(psutil.NoSuchProcess):
            of_the_run = process.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id)
            if of_the_run and script in " ".join(process.cmdline()):
                return process
    return None


def registered(client: SyncPrefectClient) -> dict[str, Any]:
    """Everything that ``up`` registers, as the server has it."""
    changing = {"last_polled", "status"}  # by themselves
    found = [
        client.read_deployment_by_name(f"{deployments.load_flow(each).name}/{each['name']}")
        for each in deployments.definitions()
    ]
    automations = client.read_automations(sort=AutomationSort.NAME_ASC, limit=200)
    pools = [client.read_work_pool(name) for name in POOLS]
    return {
        "deployments": {each.name: each.model_dump(exclude=changing) for each in found},
        "pools": {each.name: each.model_dump(exclude=changing) for each in pools},
        "automations": {each.name: each.model_dump() for each in automations},
    }


def test_a_second_up_changes_nothing(service: Service, client: SyncPrefectClient) -> None:
    before = registered(client)
    running = {process.pid for process in service.processes()}
    assert service.up_again() == []
    assert registered(client) == before
    assert {process.pid for process in service.processes()} == running
    assert before["pools"]["gpu"]["concurrency_limit"] == 1
    assert set(before["automations"]) == {
        "silentmix: ingest, then score",
        "silentmix: score, then extract",
        "silentmix: mark lost runs as crashed",
        "silentmix: mark runs that never began as crashed",
    }
    for each in before["deployments"].values():
        assert each["parameters"]["parameters"]["workspace"] == str(service.root)
        assert not any(schedule["active"] for schedule in each["schedules"])


def test_the_pages_talk_to_their_own_server(service: Service) -> None:
    assert service.get("/ui-settings")["api_url"] == "/api"


def test_the_pages_advertise_nothing(service: Service) -> None:
    assert service.get("/api/admin/settings")["server"]["ui"]["show_promotional_content"] is False


def test_the_database_stays_bounded(service: Service) -> None:
    settings = service.get("/api/admin/settings")["server"]
    vacuum = settings["services"]["db_vacuum"]
    assert set(vacuum["enabled"]) == {"events", "flow_runs"}
    assert "lease_storage.filesystem" in settings["concurrency"]["lease_storage"]


def of_another_version(client: SyncPrefectClient, name: str) -> None:
    """Have an automation look as if another version had registered it."""
    notes = client.read_variable_by_name(automations.NOTES)
    assert notes is not None
    assert isinstance(notes.value, dict)
    value = {**notes.value, name: {**notes.value[name], "definition": "older"}}
    client.update_variable(VariableUpdate(name=automations.NOTES, value=value))


def test_an_automation_that_was_edited_is_left_alone(
    service: Service, client: SyncPrefectClient
) -> None:
    name = "silentmix: mark lost runs as crashed"
    [before] = client.read_automations_by_name(name)
    kept = before.model_dump(exclude={"id", "owner_resource"})
    try:
        client.update_automation(before.id, AutomationCore(**{**kept, "description": ""}))
        edited = client.read_automation(before.id)
        assert service.up_again() == []
        assert client.read_automation(before.id) == edited
    finally:
        client.update_automation(before.id, AutomationCore(**kept))


@pytest.mark.parametrize("edited", ["", "Mine. "])
def test_an_automation_that_notes_its_version_in_its_description(
    service: Service, client: SyncPrefectClient, edited: str
) -> None:
    """As those of 0.2.0 do, where nothing else notes it."""
    name = "silentmix: mark lost runs as crashed"
    [before] = client.read_automations_by_name(name)
    kept = before.model_dump(exclude={"id", "owner_resource"})
    noted = f"{edited}{before.description} (registered as 0123abcd)"
    client.update_automation(before.id, AutomationCore(**{**kept, "description": noted}))
    client.delete_variable_by_name(automations.NOTES)
    try:
        assert f"registered: automation {name}" in service.up_again()
        [after] = client.read_automations_by_name(name)
        assert (after.id, after.description) == (before.id, edited + before.description)
        assert service.up_again() == []
    finally:
        client.update_automation(before.id, AutomationCore(**kept))


def test_what_a_user_chose_outlives_a_new_version(
    service: Service, client: SyncPrefectClient
) -> None:
    name = "ingest/ingest"
    found = client.read_deployment_by_name(name)
    [schedule] = found.schedules
    client.update_deployment_schedule(found.id, schedule.id, active=True)
    chosen = {"workspace": "elsewhere", "source": "/music", "gone": 1}
    client._client.patch(
        f"/deployments/{found.id}",
        json={
            "version": "0.0.1", "parameters": {"parameters": chosen},
            "enforce_parameter_schema": False, "job_variables": {"env": {"PROXY": "here"}},
            "concurrency_limit": 3,
        },
    )  # fmt: skip
    [switched_off] = client.read_automations_by_name("silentmix: score, then extract")
    [action] = switched_off.actions
    assert isinstance(action, RunDeployment)
    fields = {**(action.parameters or {})["parameters"], "target_precision": 0.9}
    action = action.model_copy(update={"parameters": {"parameters": fields}})
    edited = {
        "name": "mine", "description": "As I say.", "enabled": False, "actions": [action]
    }  # fmt: skip
    client.update_automation(
        switched_off.id,
        AutomationCore(**{**switched_off.model_dump(exclude={"id", "owner_resource"}), **edited}),
    )
    of_another_version(client, switched_off.name)
    try:
        assert service.up_again() == [
            f"registered: deployment {name}", f"registered: automation {switched_off.name}"
        ]  # fmt: skip
        again = client.read_deployment_by_name(name)
        assert again.id == found.id
        assert again.version == found.version
        assert again.parameters["parameters"] == {
            "workspace": str(service.root),
            "source": "/music",
        }
        assert again.job_variables == {"env": {"PROXY": "here"}}
        assert again.global_concurrency_limit is not None
        assert again.global_concurrency_limit.limit == 3
        assert [each.active for each in again.schedules] == [True]
        again_off = client.read_automation(switched_off.id)
        assert again_off is not None
        assert not again_off.enabled
        assert (again_off.name, again_off.description) == ("mine", "As I say.")
        assert again_off.actions == [action]
    finally:
        [schedule] = client.read_deployment_by_name(name).schedules
        client.update_deployment_schedule(found.id, schedule.id, active=False)
        client._client.patch(
            f"/deployments/{found.id}",
            json={"parameters": found.parameters, "job_variables": {}, "concurrency_limit": None},
        )
        before = switched_off.model_dump(exclude={"id", "owner_resource"})
        client.update_automation(switched_off.id, AutomationCore(**before))


@pytest.mark.slow
def test_deployments_of_before_the_flows_moved_are_mended(
    service: Service, client: SyncPrefectClient, tmp_path: Path
) -> None:
    """A nightly ingest of 0.1.0, and a deployment that somebody made, run on after an upgrade."""
    music = tmp_path / "music"
    write(music / "a.wav", np.sum(list(play(310).values()), axis=0))
    found = client.read_deployment_by_name("ingest/ingest")
    before = {"entrypoint": "flows.ingest.ingest", "version": "0.1.0+12345678"}
    form = {"workspace": str(service.root), "source": str(music), "corpus": "nightly", "workers": 1}
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

    def planned() -> list[FlowRun]:
        of_it = DeploymentFilter(id=DeploymentFilterId(any_=[found.id]))
        return client.read_flow_runs(deployment_filter=of_it)

    try:
        wait_for(planned)  # by what the schedule was, which none of them may begin with
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
        scheduled = wait_for(planned)
        assert all(run.parameters == {FORM: form} for run in scheduled)
        # the first that the schedule planned, now: as the button in the UI does
        now: State[None] = Scheduled(scheduled_time=datetime.now(UTC))
        client.set_flow_run_state(scheduled[0].id, now, force=True)
        wait_for(lambda: state_of(client, scheduled[0].id).is_final())
        assert state_of(client, scheduled[0].id).is_completed()
        assert Manifests(Workspace(str(service.root))).partitions("tracks", "nightly")
        assert service.up_again() == []
    finally:
        client.delete_deployment(own)
        client.delete_deployment(found.id)
        service.up_again()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "/x", "batch_files": 0}, "parameters.batch_files"),
        ({"source": "/x", "corpus": "../up"}, "parameters.corpus"),
        ({"source": "/x", "colour": "red"}, "colour"),
        ({}, "'source' is a required property"),
    ],
)
def test_the_run_form_refuses_at_submission(
    client: SyncPrefectClient, fields: dict[str, object], said: str
) -> None:
    deployment = client.read_deployment_by_name("ingest/ingest")
    with pytest.raises(Exception, match="409") as refused:
        client.create_flow_run_from_deployment(deployment.id, parameters={"parameters": fields})
    assert said in str(refused.value)


def runs(client: SyncPrefectClient) -> list[FlowRun]:
    return client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200)


def ended(client: SyncPrefectClient, name: str) -> FlowRun | None:
    for run in runs(client):
        if run.name == name and run.state is not None and run.state.is_final():
            return run
    return None


@pytest.mark.slow
def test_a_run_that_is_paused_ends_and_goes_on_when_it_is_resumed(
    service: Service, client: SyncPrefectClient, finished: Finished
) -> None:
    deployment = client.read_deployment_by_name("train/train")
    steps = 600
    # where the workspace is, the deployment says
    fields = {"weak_share": 0.0, "steps": steps, "channels": 2}
    fields |= {"depth": 2, "crop_s": 0.5, "batch_size": 1, "checkpoint_every": 20, "seed": 5}
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"parameters": fields})

    def trained() -> list[int]:
        """Where the trainings are that have begun."""
        told = [json.loads(path.read_text()) for path in service.root.glob("models/*/unf*.json")]
        return [progress["step"] for progress in told if progress["step"]]

    wait_for(trained, lambda: (service.home / "worker-gpu.log").read_text()[-2000:])
    client.set_flow_run_state(run.id, Suspended(timeout_seconds=3600))  # as the button does
    wait_for(lambda: not process_of(service, run, "prefect.engine"))
    assert state_of(client, run.id).name == "Suspended"
    [step] = trained()
    assert 0 < step < steps
    client.resume_flow_run(run.id)
    wait_for(lambda: state_of(client, run.id).is_final())
    assert state_of(client, run.id).is_completed()
    assert not trained()
    [rows] = [
        sorted(manifests.rows(partition), key=lambda row: row["started_at"])
        for manifests in [Manifests(finished.workspace)]
        for partition in manifests.partitions("runs")
        if any(row["flow_run_id"] == str(run.id) for row in manifests.rows(partition))
    ]
    assert [row["outcome"] for row in rows] == ["paused", "completed"]


def test_a_run_that_is_lost_is_marked_crashed(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but its process tells that it is alive, and here there is none."""
    monkeypatch.setattr(automations, "LOST_AFTER", timedelta(seconds=10))  # the least there is
    sooner = client.create_automation(automations.lost().model_copy(update={"name": "sooner"}))
    ours, others = (
        client.create_flow_run(extract, state=Running(), tags=tags) for tags in ([TAG], ["others"])
    )
    heartbeats = [
        Event(
            event="prefect.flow-run.heartbeat",
            resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}"}),
            related=[
                RelatedResource(
                    {
                        "prefect.resource.id": f"prefect.tag.{tag}",
                        "prefect.resource.role": "tag",
                    }
                )
                for tag in run.tags
            ],
        ).model_dump(mode="json")
        for run in (ours, others)
    ]
    client._client.post("/events", json=heartbeats).raise_for_status()

    def crashed(run: FlowRun) -> bool:
        state = client.read_flow_run(run.id).state
        return state is not None and state.is_crashed()

    wait_for(lambda: crashed(ours))
    assert not crashed(others)
    client.delete_automation(sooner)  # to which each run of the other tests is soon lost


@pytest.mark.slow
def test_a_run_that_is_killed_is_marked_crashed(
    service: Service, client: SyncPrefectClient
) -> None:
    deployment = client.read_deployment_by_name("train/train")
    fields = {"workspace": str(service.root), "weak_share": 0.0, "steps": 10_000_000, "channels": 4}
    fields |= {"depth": 3, "crop_s": 1.5}
    log = service.home / "worker-gpu.log"
    said_before = log.read_text()
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"parameters": fields})

    wait_for(lambda: process_of(service, run, "prefect.engine")).kill()
    wait_for(lambda: state_of(client, run.id).is_crashed())
    wait_for(
        lambda: not process_of(service, run, "_workspace_runtime_bootstrap")
    )  # what it does after a crash
    assert "Traceback" not in log.read_text().removeprefix(said_before)


@pytest.mark.slow
def test_a_server_that_was_killed_is_started_where_it_was(
    service: Service, client: SyncPrefectClient
) -> None:
    """Its workers and runs still look for it there."""
    server = ServiceState.read(service.home).running()["server"].find()
    assert server is not None
    server.kill()
    psutil.wait_procs([server], timeout=30)
    done = service.command("up")
    assert done.stdout.splitlines()[-1] == f"Prefect UI: {service.address}", done.stderr
    assert client.api_healthcheck() is None


def test_doctor_finds_nothing_wrong(service: Service) -> None:
    done = service.command("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong" not in done.stdout
    assert service.address in done.stdout


def test_below_a_file_nothing_was_started(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not ServiceState.read(tmp_path / "file" / "workspace" / ".prefect").processes


def test_a_port_that_is_taken(service: Service, tmp_path: Path) -> None:
    other = Service(tmp_path / "other", service.port)
    done = other.command("up", "--port", str(service.port))
    assert done.returncode == EXIT_USER_ERROR
    [line] = done.stderr.splitlines()
    assert f"port {service.port} is taken by a Prefect server with a login" in line
    assert f"PREFECT_API_URL={service.address}/api" in line
    assert not ServiceState.read(other.home).processes


def test_a_service_of_another_version(service: Service) -> None:
    state = ServiceState.read(service.home)
    try:
        state.model_copy(update={"versions": {"silentmix": "0.0.1", "prefect": "3.0"}}).write(
            service.home
        )
        done = service.command("up")
    finally:
        state.write(service.home)
    assert done.returncode == EXIT_USER_ERROR
    assert "started by silentmix 0.0.1, prefect 3.0" in done.stderr
    assert "silentmix down" in done.stderr


def test_a_worker_of_another_version(service: Service, client: SyncPrefectClient) -> None:
    client.send_worker_heartbeat("gpu", "far-silentmix-0.0.1-prefect-3.0", 30.0)
    done = service.command("doctor")
    assert done.returncode == EXIT_WRONG
    assert "far-silentmix-0.0.1-prefect-3.0" in " ".join(done.stdout.split())
    [line] = service.up_again()
    assert "runs silentmix 0.0.1, prefect 3.0" in line


class Listener(BaseHTTPRequestHandler):
    """Somebody's chat."""

    heard: queue.Queue[Any] = queue.Queue()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.put((self.path, json.loads(content)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_failure_is_told_to_the_webhook(service: Service, client: SyncPrefectClient) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        said = service.up_again(f"http://127.0.0.1:{listener.server_port}/hook")
        assert "registered: automation silentmix: tell of failures" in said
        deployment = client.read_deployment_by_name("extract/extract")
        fields = {"workspace": str(service.root), "corpus": "nobodys"}
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters={"parameters": fields}
        )
        path, message = Listener.heard.get(timeout=TIMEOUT_S)
        listener.shutdown()
    assert path == "/hook"
    assert list(message) == ["text"]
    assert message["text"].startswith("silentmix: extract nobodys failed: ")
    assert "no scores of corpus 'nobodys'" in message["text"]
    assert f"{service.address}/runs/flow-run/{run.id}" in message["text"]


@pytest.mark.skipif(
    Version(importlib.metadata.version("fastapi")) >= Version("0.151"),
    reason="it refuses null where Prefect's client means the default",
)
@pytest.mark.slow
def test_prefect_itself_deploys_the_same(service: Service, client: SyncPrefectClient) -> None:
    """What `prefect.yaml` says: `prefect deploy --all` reads it without us."""

    def told(each: dict[str, Any]) -> dict[str, Any]:
        same = ("name", "flow_id", "description", "entrypoint", "parameters", "work_pool_name")
        schedules = [(found["slug"], found["active"]) for found in each["schedules"]]
        return {**{name: each[name] for name in same}, "tags": set(each["tags"]), "at": schedules}

    ours = {name: told(each) for name, each in registered(client)["deployments"].items()}
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        env={
            **os.environ,
            "PREFECT_API_URL": f"{service.address}/api",
            "PREFECT_API_AUTH_STRING": service.login,
            "SILENTMIX_WORKSPACE": str(service.root),
        },
        cwd=deployments.DEFINITIONS.parent,
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = {name: told(each) for name, each in registered(client)["deployments"].items()}
    assert theirs == ours
    listed = {each["name"] for each in client._client.post("/deployments/filter", json={}).json()}
    assert listed == set(ours)
    service.up_again()


def test_the_server_lost_no_event(service: Service) -> None:
    """Where Prefect gives up on an event, it leaves it here; last, so that all has happened."""
    lost = service.home / "dlq"
    assert not lost.exists() or not list(lost.iterdir())
