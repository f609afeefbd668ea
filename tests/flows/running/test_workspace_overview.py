"""The workspace's page says what there is, and costs what there is and not how long it took."""

from __future__ import annotations

import json
import re
import uuid
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.catalogue import STAGES
from flows.running.workspace_overview import overview_markdown, shown_runs
from flows.server.pages import run_path
from storage.tables.manifests import Manifests, Partition
from storage.tables.runs import last_runs
from storage.workspace import Workspace
from tests.flows.conftest import Finished
from tests.flows.reports.pages import artifacts


def overview(manifests: Manifests) -> str:
    return overview_markdown(manifests, shown_runs(manifests))


def table_of(markdown: str, title: str) -> list[dict[str, str]]:
    """The rows of the table below a heading."""
    [section] = [part for part in markdown.split("### ") if part.startswith(title)]
    lines = [line for line in section.split("\n") if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_it_tells_what_the_chain_made(finished: Finished) -> None:
    markdown = overview(finished.manifests)
    corpora = {row["corpus"]: row for row in table_of(markdown, "Corpora")}
    assert "[5 tracks, " in corpora["music"]["ingested"]
    assert "6 rejected" in corpora["music"]["ingested"]
    assert "[7 songs, " in corpora["labelled"]["ingested"]
    assert corpora["labelled"]["scored"] == "-"
    assert "/runs/flow-run/" in corpora["music"]["scored"]
    models = table_of(markdown, "Models")
    for result in finished.results:
        if result.stage == "evaluate":
            mean = f"[{result.counts['sdr_mean_db']:.2f}]"
            assert any(row["mean"].startswith(mean) for row in models)
    assert {"labelled songs alone", "50% remixes"} <= {row["trained on"] for row in models}
    [detector] = [result for result in finished.results if result.stage == "fit-detector"]
    rows = table_of(markdown, "Detectors")
    assert any(row["detector"].startswith(f"[{detector.fingerprint}]") for row in rows)


def test_every_run_of_a_stage_leaves_it(finished: Finished) -> None:
    for run in last_runs(finished.manifests, STAGES):
        pages = artifacts(key="workspace-overview", flow_run_id=run.flow_run_id)
        assert pages
        assert all(page["data"].startswith("### Corpora") for page in pages)


def test_as_a_page_it_leads_to_the_reports(finished: Finished) -> None:
    reports = finished.workspace.root + "/reports"
    html = Path(reports, "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([\w-]+/index\.html)"', html)
    stages = {link.rpartition("-")[0] for link in links}
    assert {"ingest", "fit-detector", "score", "extract", "remix", "train", "evaluate"} <= stages
    assert all(Path(reports, link).exists() for link in links)


@pytest.fixture
def many_runs() -> Workspace:
    """Three corpora, of which each stage ran twenty times; nothing but ``runs`` is there."""
    workspace = Workspace(f"memory://{uuid.uuid4().hex}", create=True)
    manifests = Manifests(workspace)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(20):
        for corpus in ("a", "b", "c"):
            for stage in ("ingest", "score"):
                run_id = f"{stage}-{corpus}-{number}"
                row = {
                    "run_id": run_id, "stage": stage, "flow_run_id": str(uuid.uuid4()),
                    "parameters": "{}", "versions": "{}", "git_revision": "",
                    "started_at": began + timedelta(hours=number), "duration_s": 1.0,
                    "counts": json.dumps({"tracks": number, "total": number, "pending": 1}),
                    "outcome": "failed" if number == 19 else "completed", "message": "",
                }  # fmt: skip
                manifests.write(Partition("runs", corpus, f"f-{stage}"), [run_id], [row])
    return workspace


def test_the_last_runs_that_ended_well_count(
    many_runs: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    manifests = Manifests(many_runs)
    once = manifests._open

    def noting(path: str) -> AbstractContextManager[pq.ParquetFile]:
        opened.append(path)
        return once(path)

    monkeypatch.setattr(manifests, "_open", noting)
    rows = table_of(overview(manifests), "Corpora")
    assert [row["corpus"] for row in rows] == ["a", "b", "c"]
    assert all(row["ingested"].startswith("[18]") for row in rows)
    assert all(row["scored"].startswith("[18]") for row in rows)
    # the last one, which failed, and the one before it
    assert len(opened) == 2 * 3 * 2


def test_a_link_leads_to_the_run(many_runs: Workspace) -> None:
    manifests = Manifests(many_runs)
    runs = manifests.rows(Partition("runs", "a", "f-score"))
    [wanted] = [row["flow_run_id"] for row in runs if row["run_id"] == "score-a-18"]
    [row, *_] = table_of(overview(manifests), "Corpora")
    assert row["scored"] == f"[18]({run_path(wanted)})"


def test_an_empty_workspace_has_an_empty_page(tmp_path: Path) -> None:
    assert overview(Manifests(Workspace(str(tmp_path / "w"), create=True))) == ""


def test_trainings_that_are_not_over_are_listed(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path), create=True)
    description = {"parameters": {"steps": 2000}, "training": {"weak_share": 0.25}}
    begun = {"description": description, "step": 0, "best": None}
    best = {"step": 900, "loss": 0.05}
    going_on = {**begun, "step": 1200, "best": best, "saved_at": "2026-11-01T08:00:00+00:00"}
    workspace.put_json("models/aaa/unfinished.json", begun)
    workspace.put_json("models/bbb/unfinished.json", going_on)
    first, second = table_of(overview(Manifests(workspace)), "Trainings")
    assert (first["training"], first["step"], first["best step"]) == ("aaa", "0", "-")
    assert list(second.values()) == [
        "bbb", "25% remixes", "1,200", "2,000", "2026-11-01T08:00:00+00:00", "900", "0.0500"
    ]  # fmt: skip
