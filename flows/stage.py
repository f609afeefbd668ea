"""What every stage run does around its work: open the workspace, record the run, report it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prefect.runtime
from pydantic import BaseModel

from flows.announcements import announce
from flows.artifacts import Report
from flows.parameters import StageParameters
from flows.turn import turn
from storage.manifests import Manifests, Partition
from storage.schemas import RUNS
from storage.workspace import Workspace

VERSIONED = ("silentmix", "torch", "numpy", "pyarrow", "prefect", "dask", "soxr", "av")


class StageResult(BaseModel):
    """What a stage made: enough to find it, and to print a line about it."""

    stage: str
    corpus: str
    fingerprint: str
    counts: dict[str, float] = {}
    already_done: bool = False
    notes: list[str] = []
    """What a person should know of it, a sentence each."""


@dataclass
class StageRun:
    """One run of a stage: where it works, and what it has counted so far."""

    stage: str
    corpus: str
    fingerprint: str
    workspace: Workspace
    manifests: Manifests
    report: Report
    counts: dict[str, float] = field(default_factory=dict)
    already_done: bool = False
    notes: list[str] = field(default_factory=list)

    def partition(self, table: str) -> Partition:
        """The partition of ``table`` that this run writes."""
        return Partition(table, self.corpus, self.fingerprint)

    def count(self, **counts: float) -> None:
        """Add to the run's counts."""
        for name, amount in counts.items():
            self.counts[name] = self.counts.get(name, 0) + amount

    def result(self) -> StageResult:
        """What the flow returns."""
        return StageResult(
            stage=self.stage,
            corpus=self.corpus,
            fingerprint=self.fingerprint,
            counts=self.counts,
            already_done=self.already_done,
            notes=self.notes,
        )


@contextmanager
def stage_run(
    stage: str, parameters: StageParameters, *, corpus: str, fingerprint: str, workspace: Workspace
) -> Iterator[StageRun]:
    """Record a stage run in ``runs``, whatever comes of it."""
    run_id = f"{stage}-{uuid.uuid4().hex[:12]}"
    run = StageRun(
        stage=stage,
        corpus=corpus,
        fingerprint=fingerprint,
        workspace=workspace,
        manifests=Manifests(workspace),
        report=Report(workspace, stage, run_id),
    )
    started_at, started = datetime.now(UTC), time.monotonic()
    outcome, message = "failed", ""
    try:
        with turn(stage, corpus, workspace.location):
            yield run
        outcome = "completed"
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise
    except BaseException:  # a cancelled flow run, an interrupt from the keyboard
        outcome = "cancelled"
        raise
    finally:
        row = {
            "run_id": run_id,
            "stage": stage,
            "flow_run_id": str(prefect.runtime.flow_run.id or ""),
            "parameters": parameters.model_dump_json(),
            "versions": json.dumps(_versions()),
            "git_revision": _git_revision(),
            "started_at": started_at,
            "duration_s": time.monotonic() - started,
            "counts": json.dumps(run.counts),
            "outcome": outcome,
            "message": message,
        }
        run.manifests.write(run.partition(RUNS.name), [run_id], [row])
    if prefect.runtime.flow_run.parent_flow_run_id is None:  # the chain goes on by itself
        fields = {**parameters.model_dump(mode="json"), "workspace": workspace.location}
        announce(stage, corpus, fields, {"fingerprint": fingerprint, "counts": run.counts})


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {"python": platform.python_version(), **versions}


def _git_revision() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def dataclass_fields(config: Any, parameters: StageParameters) -> dict[str, Any]:
    """The fields that a core configuration shares, by name, with a stage's parameters."""
    names = config.__dataclass_fields__
    return {name: getattr(parameters, name) for name in names if hasattr(parameters, name)}
