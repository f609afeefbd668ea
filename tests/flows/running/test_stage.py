"""Every stage run leaves a row in ``runs``, whatever comes of it."""

from __future__ import annotations

import json
import os
import uuid
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.runtime import flow_run

from flows.running import stage
from flows.running.parameters import StageParameters
from flows.running.stage import StageResult, StageRun, as_told, stage_run
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

RUNS = Partition("runs", "music", "f1")


class Asked(StageParameters):
    """What a stage is told."""

    corpus: str = "music"


@pytest.fixture
def workspace() -> Workspace:
    return Workspace(f"memory://{uuid.uuid4().hex}", create=True)


def run_and_read(workspace: Workspace, error: BaseException | None) -> dict[str, Any]:
    """The row of a stage run that counted three things, then raised."""
    parameters = StageParameters(workspace=workspace.location, workers=3)

    def work(run: StageRun) -> None:
        run.count(tracks=1)
        run.count(tracks=2)
        if error is not None:
            raise error

    def stage() -> StageResult:
        with stage_run(
            "score", parameters, corpus="music", fingerprint="f1", workspace=workspace
        ) as run:
            work(run)
            return run.result()

    if error is None:
        result = stage()
        assert result.counts == {"tracks": 3}
        assert not result.already_done
    else:
        with pytest.raises(type(error)):
            stage()
    [row] = Manifests(workspace).rows(RUNS)
    return row


def test_a_run_that_ends_well(workspace: Workspace) -> None:
    row = run_and_read(workspace, None)
    assert (row["outcome"], row["message"]) == ("completed", "")
    assert json.loads(row["counts"]) == {"tracks": 3}
    assert json.loads(row["parameters"])["workers"] == 3
    assert json.loads(row["versions"]).keys() >= {"python", "torch", "silentmix", "prefect"}
    assert row["duration_s"] >= 0
    assert row["flow_run_id"] == ""


def test_a_run_that_fails_says_why(workspace: Workspace) -> None:
    row = run_and_read(workspace, UserError("no such detector"))
    assert (row["outcome"], row["message"]) == ("failed", "UserError: no such detector")
    assert json.loads(row["counts"]) == {"tracks": 3}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_a_run_that_is_interrupted(workspace: Workspace, error: BaseException) -> None:
    assert run_and_read(workspace, error)["outcome"] == "cancelled"


def test_what_a_stage_refuses_before_it_begins_is_on_record(workspace: Workspace) -> None:
    @as_told
    def score(parameters: Asked) -> None:
        if parameters.corpus == "none":
            raise UserError("no such detector")
        with stage_run("score", parameters, corpus="music", fingerprint="f1", workspace=workspace):
            raise ValueError("later")

    asked = Asked(workspace=workspace.location, corpus="none")
    for parameters in (asked, asked, asked.model_copy(update={"dry_run": True})):
        with pytest.raises(UserError):
            score(parameters)
    with pytest.raises(UserError):  # which is no workspace
        score(asked.model_copy(update={"workspace": f"memory://{uuid.uuid4().hex}"}))
    with pytest.raises(ValueError, match="later"):
        score(Asked(workspace=workspace.location))
    manifests = Manifests(workspace)
    [refused] = manifests.partitions("runs", "none")
    for row in (rows := list(manifests.rows(refused))):
        told = [row[name] for name in ("stage", "outcome", "message", "counts")]
        assert told == ["score", "failed", "UserError: no such detector", "{}"]
    assert len(rows) == 2
    [later] = manifests.rows(RUNS)
    assert later["message"] == "ValueError: later"


def test_what_failed_does_not_count_as_the_latest(workspace: Workspace) -> None:
    """The stage after reads what was completed last, not what was begun last."""
    manifests = Manifests(workspace)
    row = {
        "segment_id": "s", "track_id": "t", "path": "p", "track_num_samples": 1,
        "start_sample": 0, "stop_sample": 1, "duration_s": 1.0, "silent_sources": ["bass"],
        "mean_probability": [1.0], "min_probability": [1.0], "level_db": 0.0,
        "detector_id": "d", "scores_fingerprint": "f", "policy": "{}",
    }  # fmt: skip
    for name, error in (("f9", None), ("f1", None), ("f5", ValueError())):
        partition = Partition("segments", "music", name)
        manifests.write(partition, [name], [row])
        try:
            with stage_run(
                "extract",
                StageParameters(),
                corpus="music",
                fingerprint=name,
                workspace=workspace,
            ):
                if error is not None:
                    raise error
        except ValueError:
            continue
    assert manifests.latest("segments", "music").fingerprint == "f1"
    assert manifests.latest("segments", "music", "f9").fingerprint == "f9"


def test_the_row_names_the_flow_run(workspace: Workspace) -> None:
    @flow
    def stage() -> str:
        run_and_read(workspace, None)
        return str(flow_run.id)

    name = stage()
    [row] = Manifests(workspace).rows(RUNS)
    assert row["flow_run_id"] == name


def test_a_run_that_leads_to_nothing_starts_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(stage, "announce", lambda name, *_: told.append(name))
    for name, leads_on in (("ingest", False), ("score", True)):
        with stage_run(
            name, StageParameters(workspace=workspace.location), corpus="music", fingerprint="f1",
            workspace=workspace,
        ) as run:  # fmt: skip
            run.leads_on = leads_on
    assert told == ["score"]


def test_a_clock_that_was_set_back(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made last is the latest, whatever the clock said then."""
    manifests = Manifests(workspace)
    for name, days in (("f9", 0), ("f1", -2)):

        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None, days: int = days) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + timedelta(days=days)

        monkeypatch.setattr(stage, "datetime", Clock)
        parameters = StageParameters()
        with stage_run(
            "extract", parameters, corpus="music", fingerprint=name, workspace=workspace
        ) as run:
            manifests.write(Partition("segments", "music", name), [name], [])
            now = run.now()
    assert manifests.latest("segments", "music").fingerprint == "f1"
    [first] = manifests.rows(Partition("runs", "music", "f9"))
    assert now > first["started_at"]


def test_a_workspace_that_may_not_be_written_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended in the traceback of what it could not write: the row of its run."""
    made = Workspace(str(tmp_path / "w"), create=True)
    begun: list[StageRun] = []

    @as_told
    def score(parameters: Asked) -> None:
        with stage_run(
            "score", parameters, corpus="music", fingerprint="f1", workspace=made
        ) as run:
            begun.append(run)

    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(UserError, match="may not be written by this user"):
        score(Asked(workspace=made.location))
    assert not begun
    assert not made.find("manifests")
