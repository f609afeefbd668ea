"""What a person does in the Prefect UI, done in a real browser to a real service."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil
import pytest
import soundfile
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.events.actions import RunDeployment

from flows.server.deployed import FORM
from flows.service import automations, registration
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import SETTINGS, SOURCES, Finished, mix, play, write
from tests.flows.running.held_track import held
from tests.flows.service.standing_service import TIMEOUT_S, Service, standing, wait_for

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if shutil.which("chromium") is None:
    pytest.skip("no chromium on PATH", allow_module_level=True)

from docs.screenshots import chromium, credentials, log_in  # noqa: E402  it wants playwright
from tests.flows.service.interfaces import INTERFACES  # noqa: E402  likewise

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator
    from prefect.events.schemas.automations import Automation, TriggerTypes

    from tests.flows.service.interfaces import Interface

pytestmark = pytest.mark.slow
TRACKS = 8
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
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of music for each interface."""
    folder = tmp_path_factory.mktemp("music")
    for place, corpus in enumerate(each.corpus for each in INTERFACES):
        for index in range(TRACKS):
            write(folder / corpus / f"{index}.wav", mix(play(1000 * (place + 1) + index)))
    return folder


@pytest.fixture(scope="module")
def service(finished: Finished) -> Iterator[Service]:
    """A service on the finished workspace."""
    with standing(Path(finished.workspace.root), PREFECT_WORKER_QUERY_SECONDS="1") as service:
        choose(service, "score", batch_tracks=1, workers=2)
        for stage in ("extract", "remix", "evaluate"):
            choose(service, stage, workers=1)
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with chromium() as browser:
        yield browser


@pytest.fixture(params=INTERFACES, ids=lambda interface: interface.__name__)
def ui(request: pytest.FixtureRequest, browser: Browser, service: Service) -> Iterator[Interface]:
    """A page of the service's UI, in each interface."""
    login = credentials(service.login)
    with browser.new_context(base_url=service.address, http_credentials=login) as context:
        context.set_default_timeout(PATIENCE_MS)
        log_in(context, service.login)
        context.add_init_script(STILL)
        yield request.param(context.new_page())


def choose(service: Service, stage: str, **fields: object) -> None:
    """Set fields of a deployment, for its form and for the runs that start by themselves."""
    with registration.server(service.address, service.login) as client:
        deployment = client.read_deployment_by_name(f"{stage}/{stage}")
        chosen = {FORM: {**deployment.parameters[FORM], **fields}}
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=chosen))


def parts(root: Path, corpus: str) -> dict[Path, int]:
    """The parts of a corpus's scores, and when each was written."""
    found = root.glob(f"manifests/scores/corpus={corpus}/*/*.parquet")
    return {path: path.stat().st_mtime_ns for path in found}


def flow_runs(service: Service) -> set[UUID]:
    """Every run that the server knows."""
    with registration.server(service.address, service.login) as client:
        return {run.id for run in client.read_flow_runs()}


def reports(service: Service, stage: str) -> set[Path]:
    """The reports that a stage has left."""
    return set(service.root.glob(f"reports/{stage}-*/index.html"))


def num_done(card: Locator) -> int:
    """How many tracks a progress artifact says are done."""
    told = re.compile(rf"score: (\d+) of {TRACKS}")
    sync_api.expect(card).to_contain_text(told)
    found = told.search(card.inner_text())
    assert found is not None
    return int(found[1])


def test_a_value_out_of_range_is_refused_with_its_message(ui: Interface, service: Service) -> None:
    before = flow_runs(service)
    ui.open_run_form("score")
    ui.fill(corpus=ui.corpus, batch_tracks="0")
    ui.submit_too_small("batch_tracks", 0, 1)
    ui.fill(corpus="no/name", batch_tracks="1")
    ui.submit()
    message = ui.page.get_by_text("'parameters.corpus'. Failure reason: 'no/name' does not match")
    sync_api.expect(message.last).to_be_visible()
    assert ui.page.url.partition("?")[0].endswith("/run")  # still the form, to be mended
    assert flow_runs(service) == before


def test_a_morning(ui: Interface, service: Service, music: Path) -> None:
    """From a folder of music to what is silent in it, by somebody who looks at all of it."""
    manifests, corpus = Manifests(Workspace(str(service.root))), ui.corpus

    before = reports(service, "ingest")
    ui.start("ingest", source=str(music / corpus), corpus=corpus, workers="1")
    wait_for(lambda: reports(service, "ingest") - before)  # it reads no track any more
    tracks = list((service.root / "audio" / corpus).rglob("*.wav"))
    idle = set(service.processes())
    with held(*tracks[:2]) as [first, _]:
        ui.wait_for_state("Completed")

        ui.open_run(f"score {corpus}")  # which follows by itself
        ui.open_tab("Artifacts")
        card = ui.artifact("score-progress")
        wait_for(lambda: card.count() or ui.look_again())
        for _ in range(2):  # as long as the page takes to ask again, so that progress is due
            ui.look_again()
        held_at = num_done(card)
        first.release()
        wait_for(lambda: num_done(card) > held_at or ui.look_again())
        assert held_at < num_done(card) < TRACKS
        assert f"score {corpus}" in service.command("status").stdout

        of_the_run = set(service.processes()) - idle
        assert any("multiprocessing.spawn" in " ".join(each.cmdline()) for each in of_the_run)
        ui.cancel()
        ui.wait_for_state("Cancelled")
        _, left = psutil.wait_procs(of_the_run, timeout=TIMEOUT_S)
        assert not left
        # Prefect looked for hooks in the flow's module, and found the module
        assert "hooks" not in (service.home / "worker-gpu.log").read_text()
        done = parts(service.root, corpus)
        assert 0 < len(done) < TRACKS

    ui.retry()
    ui.wait_for_state("Completed")
    assert parts(service.root, corpus).items() > done.items()
    [scores] = manifests.partitions("scores", corpus)
    scored = [row["track_id"] for row in manifests.rows(scores, ["track_id"])]
    assert sorted(scored) == sorted(path.stem for path in tracks)
    with registration.server(service.address, service.login) as client:
        limits = client.read_global_concurrency_limits(limit=200)
        taken = {limit.name.rpartition(":")[0]: limit.active_slots for limit in limits}
    for stage in ("ingest", "score"):  # one at a time, and the turn is over
        assert taken[f"silentmix:{stage}:{corpus}"] == 0
    ui.open_artifact("score-report")
    plot = ui.page.locator("img[src^='data:image/png']").first
    plot.wait_for()
    assert plot.evaluate("image => image.naturalWidth") > 0
    assert plot.evaluate(COLOURS) > 2
    overview = ui.follow_link("The workspace as a whole")
    # of the interface that one is in
    overview.wait_for_url(f"{service.address}{ui.base}/artifacts/key/workspace-overview*")

    ui.open_run(f"extract {corpus}")  # by the policy that the detector was calibrated with
    ui.wait_for_state("Completed")
    ui.open_artifact("extract-report")
    page = ui.sounds()
    page.locator("audio").first.focus()
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0")


@pytest.mark.parametrize("ui", INTERFACES[:1], indirect=True)
def test_an_afternoon(ui: Interface, service: Service, music: Path, tmp_path: Path) -> None:
    """From another policy to a song that is separated, with forms and pages as in the morning."""
    manifests, corpus = Manifests(Workspace(str(service.root))), "music"
    before = set(manifests.partitions("segments", corpus))
    choose(service, "extract", **SETTINGS["extract"])
    ui.start("extract", corpus=corpus, min_duration_s="1.5")
    ui.wait_for_state("Completed")
    [extracted] = set(manifests.partitions("segments", corpus)) - before
    assert min(row["duration_s"] for row in manifests.rows(extracted)) >= 1.5
    ui.start("remix", corpus=corpus, remixes_per_segment="2")
    ui.wait_for_state("Completed")

    known = set(models(service))
    settings = {name: str(value) for name, value in SETTINGS["train"].items()}
    ui.start("train", **settings | {"corpora": corpus})
    ui.wait_for_state("Completed")
    ui.open_artifact("train-report")
    [model] = set(models(service)) - known
    ui.start("evaluate")
    ui.wait_for_state("Completed")
    ui.open_artifact("comparison-report")
    sync_api.expect(ui.page.get_by_text(model).first).to_be_visible()

    song = music / ui.corpus / "0.wav"
    told = service.command("separate", str(song), "--model", model, "--output", str(tmp_path))
    assert told.returncode == 0, told.stderr
    stems = [soundfile.read(path)[0] for path in (tmp_path / song.stem).glob("*.wav")]
    assert len(stems) == len(SOURCES)
    assert {stem.shape for stem in stems} == {soundfile.read(song)[0].shape}


def models(service: Service) -> list[str]:
    """The models of the workspace, as ``silentmix models`` names them."""
    return [path.name for path in (service.root / "models").iterdir()]


def test_an_automation_that_is_edited_tells_runs_what_it_told_them(
    ui: Interface, service: Service
) -> None:
    name = "silentmix: score, then extract"
    before = automation(service, name)
    ui.describe_automation(before.id, f"{type(ui).__name__}. {before.description}")
    after = automation(service, name)
    assert after.description == f"{type(ui).__name__}. {before.description}"
    [was], [action] = before.actions, after.actions
    assert isinstance(was, RunDeployment)
    assert isinstance(action, RunDeployment)
    told, tells = was.parameters or {}, action.parameters or {}
    assert {"workspace", "corpus", "detector"} < told[FORM].keys()
    added = {field: tells[FORM][field] for field in tells[FORM].keys() - told[FORM].keys()}
    switches = ("allow_insufficient_evidence", "dry_run", "force")
    off = dict.fromkeys(switches, False)
    assert added in ([{}, off] if ui.may_tell_switches else [{}])
    assert tells == {FORM: {**told[FORM], **added}}
    assert (action.deployment_id, after.enabled) == (was.deployment_id, True)
    assert content(after.trigger) == content(before.trigger)
    with registration.server(service.address, service.login) as client:
        assert name not in automations.register(client), "what somebody edited stays"


def automation(service: Service, name: str) -> Automation:
    """An automation as the server has it."""
    with registration.server(service.address, service.login) as client:
        [found] = client.read_automations_by_name(name)
    return found


def content(trigger: TriggerTypes) -> dict[str, Any]:
    """What a trigger says; each version of it has another id."""
    return trigger.model_dump(exclude={"id"})


def test_an_audit_is_answered_by_keyboard_beside_the_ui(browser: Browser, service: Service) -> None:
    """All else of that page: tests/flows/audit/test_desk_page.py."""
    told = service.command("audit", "--corpus", "music", "--draws", "4", "--listen")
    address = told.stdout.splitlines()[-1].removeprefix("listen and answer: ")
    assert address.startswith(f"{service.address}/reports/by-ear/music/?draws=4&segments=")
    with browser.new_context(http_credentials=credentials(service.login)) as context:
        page = context.new_page()
        page.goto(address)
        status = page.locator("#status")
        sync_api.expect(status).to_contain_text("segment 1 of")
        page.keyboard.press("y")
        sync_api.expect(status).to_contain_text("segment 2 of")
    manifests = Manifests(Workspace(str(service.root)))
    [audit] = manifests.partitions("audits", "music")
    assert [row["answer"] for row in manifests.rows(audit)] == ["silent"]
