"""What every stage run does around its work: open the workspace, record the run, report it."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import prefect.runtime
from prefect import Flow
from prefect.exceptions import Pause
from prefect.logging import get_run_logger
from pydantic import BaseModel

from flows.catalogue import BY_NAME
from flows.reports.artifacts import Report
from flows.running.parameters import PlaceParameters, StageParameters
from flows.running.stage_report import publish_report
from flows.running.stage_result import Plan, StageResult
from flows.running.terminal import quiet_log_on_broken_pipe
from flows.running.turns import writing
from flows.running.under_way import new_run_id
from flows.running.workspace_overview import publish_overview
from flows.server.announcements import announce
from flows.server.deployed import as_deployed
from flows.server.exclusive_run import exclusive_run
from storage.errors import UserError
from storage.fingerprint import fingerprint as fingerprint_of
from storage.scratch import sweep_scratch
from storage.tables.edits import remove_parts
from storage.tables.manifests import Manifests, Partition
from storage.tables.runs import PENDING, after_all, parts_left, require_all_parts
from storage.tables.schemas import REJECTS, RUNS
from storage.workspace import Workspace

__all__ = ["DryRunEnded", "Plan", "StageResult", "StageRun", "as_told", "run_stage", "stage_run"]

Result = TypeVar("Result")
Told = TypeVar("Told", bound=BaseModel)
WRITTEN = ("manifests", "detectors", "models", "reports")
KEEPS_REJECTS = ("ingest",)
"""Stages that take no part of ``rejects`` away, so that one that is missing was deleted."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)
VERSIONED = ("silentmix", "torch", "numpy", "pyarrow", "prefect", "dask", "soxr", "av")


_begun: ContextVar[bool] = ContextVar("_begun", default=False)
"""Whether the stage that was called has come as far as :func:`stage_run`."""


class DryRunEnded(Exception):  # noqa: N818  it ends a dry run, and is no error
    """A dry run knows all it wants to know."""


@dataclass
class StageRun:
    """One run of a stage: where it works, and what it has counted so far.

    Attributes:
        leads_on: whether there is anything for the stage after it, which a server starts by itself.
        not_before: when the last run of the corpus ended, where the clock was set back since.
    """

    stage: str
    corpus: str
    fingerprint: str
    workspace: Workspace
    manifests: Manifests
    report: Report
    dry_run: bool = False
    force: bool = False
    planned: Plan | None = None
    counts: dict[str, float] = field(default_factory=dict)
    already_done: bool = False
    leads_on: bool = True
    notes: list[str] = field(default_factory=list)
    not_before: datetime = LONG_AGO
    _again: dict[Partition, list[str]] = field(default_factory=dict, init=False)
    _elsewhere: set[Partition] = field(default_factory=set, init=False)

    def now(self) -> datetime:
        """The time for what is recorded, later than what earlier runs recorded of the corpus."""
        return max(datetime.now(UTC), self.not_before)

    def partition(self, table: str) -> Partition:
        """The partition of ``table`` that this run writes."""
        return Partition(table, self.corpus, self.fingerprint)

    def elsewhere(self, partition: Partition) -> Partition:
        """A partition of another name, which this run writes too, so that its parts are counted."""
        self._elsewhere.add(partition)
        return partition

    def parts_left(self) -> dict[str, float]:
        """How many parts there are of what it wrote; it ends with that."""
        written = BY_NAME[self.stage].writes if self.stage in BY_NAME else ()
        if self.stage in KEEPS_REJECTS:
            written = (*written, REJECTS.name)
        own = map(self.partition, written)
        return parts_left(self.manifests, self.partition(RUNS.name), {*own, *self._elsewhere})

    def done(self, partition: Partition, items: Set[str], *beside: str) -> set[str]:
        """The items of a partition that need not be done.

        Where the run was forced, the parts that cover none but ``items`` are taken away, to be made
        again: the same rows, since they have the same fingerprint. A part that covers something
        else too, such as a file that is no longer there, stays as it is. They go once :meth:`plan`
        has refused nothing: a run that can't make them again takes none away.

        Args:
            partition: whose items; if this run is interrupted, the next one makes what is missing.
            items: all there are to do.
            beside: other manifests of the same corpus and fingerprint that the same work writes.
        """
        done = self.manifests.items(partition)
        if not self.force:
            return done
        again = self.manifests.within(partition, items)
        if not self.dry_run:
            for table in (partition.table, *beside):
                target = replace(partition, table=table)
                before = self._again.get(target, ())
                self._again[target] = [*before, *self.manifests.within(target, items)]
            if self.planned is not None:
                self._take_away()
        return done.difference(*again.values())

    def plan(self, unit: str, pending: int, total: int, *reads: Partition | str) -> None:
        """Say what there is to do, before doing it.

        Raises:
            DamagedError: parts of what it reads are gone.
            DryRunEnded: the run is a dry one.
        """
        for read in reads:
            if isinstance(read, Partition):
                require_all_parts(self.manifests, read)
        names = [
            read if isinstance(read, str) else f"{read.table}/{read.corpus}/{read.fingerprint}"
            for read in reads
        ]
        self.planned = Plan(unit=unit, pending=pending, total=total, reads=names)
        self.already_done = not pending
        if self.dry_run:
            if prefect.runtime.flow_run.id:
                get_run_logger().info("%s %s: %s", self.stage, self.fingerprint, self.planned)
            raise DryRunEnded
        self._take_away()

    def _take_away(self) -> None:
        while self._again:
            remove_parts(self.manifests, *self._again.popitem())

    def try_again(self, items: Set[str]) -> None:
        """Take what was rejected of some items out of ``rejects``: now it is tried again."""
        rejects = self.partition(REJECTS.name)
        if items:
            remove_parts(self.manifests, rejects, self.manifests.within(rejects, items))

    def count(self, **counts: float) -> None:
        """Add to the run's counts."""
        for name, amount in counts.items():
            self.counts[name] = self.counts.get(name, 0) + amount

    def warn(self, *notes: str) -> None:
        """Say what a person should know: in the run's log, its report and its result."""
        self.notes += notes
        for note in notes:
            get_run_logger().warning("%s", note)

    def result(self) -> StageResult:
        """What the flow returns."""
        return StageResult(
            stage=self.stage,
            corpus=self.corpus,
            fingerprint=self.fingerprint,
            counts=self.counts,
            already_done=self.already_done,
            notes=self.notes,
            plan=self.planned,
        )


@contextmanager
def stage_run(
    stage: str, parameters: StageParameters, *, corpus: str, fingerprint: str, workspace: Workspace
) -> Iterator[StageRun]:
    """Record a stage run in ``runs``, whatever comes of it.

    A dry run leaves the block where it calls :meth:`StageRun.plan`, and records nothing.
    """
    run_id = new_run_id(stage)
    run = StageRun(
        stage=stage,
        corpus=corpus,
        fingerprint=fingerprint,
        workspace=workspace,
        manifests=Manifests(workspace),
        report=Report(workspace, stage, run_id),
        dry_run=parameters.dry_run,
        force=parameters.force,
    )
    if parameters.dry_run:
        with suppress(DryRunEnded):
            yield run
        return
    workspace.require_writable()
    _begun.set(True)
    quiet_log_on_broken_pipe()
    started = time.monotonic()
    run.not_before = started_at = after_all(run.manifests, corpus, datetime.now(UTC))
    outcome, message, parts = "failed", "", {}
    try:
        with (
            exclusive_run(stage, corpus, workspace.location),
            writing(workspace, run_id, stage, corpus, fingerprint),
        ):
            sweep_scratch()
            for folder in (*WRITTEN, f"audio/{corpus}"):
                workspace.sweep(folder)
            yield run
            parts = run.parts_left()
        outcome = "completed"
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise
    except Pause:
        outcome = "paused"
        raise
    except BaseException:  # a cancelled flow run, an interrupt from the keyboard
        outcome = "cancelled"
        raise
    finally:
        duration_s = time.monotonic() - started
        _record(
            run.manifests, run.partition(RUNS.name), run_id, stage, parameters,
            started_at=started_at,
            duration_s=duration_s,
            counts=json.dumps(run.counts | _planned(run) | parts),
            outcome=outcome,
            message=message,
        )  # fmt: skip
    if prefect.runtime.flow_run.id:
        publish_report(run.report, run.result(), run.manifests, duration_s)
        publish_overview(run.manifests)
    # the chain goes on by itself
    if run.leads_on and prefect.runtime.flow_run.parent_flow_run_id is None:
        fields = {**parameters.model_dump(mode="json"), "workspace": workspace.location}
        announce(stage, corpus, fields, {"fingerprint": fingerprint, "counts": run.counts})


def as_told(function: Callable[[Told], Result]) -> Callable[[Told], Result]:
    """A stage's flow function, with what its deployment says, and on record if it refuses.

    What is refused before :func:`stage_run` begins, such as a detector that is not there, is a row
    of ``runs`` too, whose fingerprint names the parameters, since nothing was made.
    """
    stage = function.__name__.replace("_", "-")

    @functools.wraps(function)
    def told(parameters: Told) -> Result:
        parameters = as_deployed(parameters)
        token, started_at = _begun.set(False), datetime.now(UTC)
        try:
            return function(parameters)
        except Exception as error:
            if isinstance(parameters, StageParameters) and not (_begun.get() or parameters.dry_run):
                _record_refusal(stage, parameters, started_at, error)
            raise
        finally:
            _begun.reset(token)

    # Prefect looks names of types up where the wrapper is
    told.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    told.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return told


def _record_refusal(
    stage: str, parameters: StageParameters, started_at: datetime, error: Exception
) -> None:
    try:
        manifests = Manifests(Workspace(parameters.workspace))
        manifests.workspace.require_writable()
    except UserError:  # there is none, it is somebody else's, or it may not be written
        return
    corpus = getattr(parameters, "corpus", "") or getattr(parameters, "labelled", "")
    name = fingerprint_of(stage, 0, refused=parameters.model_dump(mode="json"))
    run_id = new_run_id(stage)
    _record(
        manifests, Partition(RUNS.name, corpus, name), run_id, stage, parameters,
        started_at=max(started_at, after_all(manifests, corpus, started_at)),
        duration_s=(datetime.now(UTC) - started_at).total_seconds(),
        counts="{}",
        outcome="failed",
        message=f"{type(error).__name__}: {error}",
    )  # fmt: skip


def _record(
    manifests: Manifests,
    partition: Partition,
    run_id: str,
    stage: str,
    parameters: StageParameters,
    **what_came: object,
) -> None:
    row = {
        "run_id": run_id,
        "stage": stage,
        "flow_run_id": str(prefect.runtime.flow_run.id or ""),
        "parameters": parameters.model_dump_json(),
        "versions": json.dumps(_versions()),
        "git_revision": _git_revision(),
        **what_came,
    }
    manifests.write(partition, [run_id], [row])


def run_stage(stage_flow: Flow[..., Result], parameters: PlaceParameters) -> Result:
    """Run a stage as a flow run; a dry run needs no Prefect server and leaves no trace there."""
    dry_run = getattr(parameters, "dry_run", False)
    return stage_flow.fn(parameters) if dry_run else stage_flow(parameters)


def _planned(run: StageRun) -> dict[str, float]:
    plan = run.planned
    return {} if plan is None else {PENDING: plan.pending, "total": plan.total}


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
