"""A day of schedules in minutes.

Prefect takes its settings when it is imported, so nothing here imports it before they are made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.faults.music import FIELDS, MUSIC, song
from benchmarks.soaking.stages import forget_settings

CORPUS = "day"
HOURS, FILES_EVERY = 24, 6
LATEST_S = 600.0
"""After the last hour, until all that was begun has ended."""
POLL_S = 0.5
MIB = 2**20


def simulated_day(workspace: Path, hour_s: float) -> dict[str, Any]:
    """Let a schedule ingest hour by hour.

    Args:
        workspace: one with a detector.
        hour_s: how long an hour is.
    """
    from flows.server.process import configure_prefect

    forget_settings()
    configure_prefect(str(workspace), os.environ)
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    from benchmarks.soaking.stack import standing, states
    from flows.server.deployed import FORM

    music = workspace.parent / CORPUS
    with standing(workspace, lost_after=timedelta(minutes=10)) as stack:
        stack.choose({name: {"workers": 1, **FIELDS[name]} for name in ("score", "extract")})
        deployment = stack.client.read_deployment_by_name("ingest/ingest")
        fields = {"corpus": CORPUS, "source": str(music), "workers": 1}
        _arrive(music, 0)
        hourly = DeploymentScheduleCreate(
            schedule=IntervalSchedule(
                interval=timedelta(seconds=hour_s), anchor_date=datetime.now(UTC)
            ),
            active=True,
            parameters={FORM: {**fields, "workspace": str(workspace)}},
        )
        [made] = stack.client.create_deployment_schedules(deployment.id, [hourly])
        before: dict[str, float] = {}
        deadline = time.monotonic() + HOURS * hour_s + LATEST_S
        for hour in range(1, HOURS + 1):
            while len(_of(stack.runs(), deployment.id)) < hour:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"hour {hour} did not begin: {states(stack.runs())}")
                time.sleep(POLL_S)
            if hour % FILES_EVERY == 0:
                before = before or _memory(workspace)
                _arrive(music, hour)
        stack.client.delete_deployment_schedule(deployment.id, made.id)
        stack.wait_until_idle(LATEST_S)
        after = _memory(workspace)
        runs = stack.runs()
    late = [
        (run.start_time - run.expected_start_time).total_seconds()
        for run in _of(runs, deployment.id)
    ]
    ended = states(runs)
    database = workspace / ".prefect" / "prefect.db"
    return {
        "day_runs": len(runs),
        "day_not_completed": len(runs) - ended.get("Completed", 0),
        "day_tracks": _tracks(workspace),
        "day_latest_s": round(max(late), 1),
        "day_mib": {name: round(held) for name, held in before.items()},
        "day_grown_mib": {name: round(after[name] - before[name], 1) for name in before},
        "day_database_mib": round(database.stat().st_size / MIB, 1),
    }


def _of(runs: Sequence[Any], deployment_id: Any) -> list[Any]:
    """The runs of a deployment that have begun."""
    return [run for run in runs if run.deployment_id == deployment_id and run.start_time]


def _arrive(music: Path, hour: int) -> None:
    music.mkdir(exist_ok=True)
    mixture = np.sum(list(song(500 + hour).values()), axis=0)
    soundfile.write(music / f"{hour}.wav", mixture, MUSIC.sample_rate)


def _tracks(workspace: Path) -> dict[str, int]:
    """How many tracks were ingested and scored, and how many were extracted from."""
    from storage.tables.manifests import Manifests
    from storage.workspace import Workspace

    manifests = Manifests(Workspace(str(workspace)))
    return {
        name: len(manifests.items(manifests.latest(name, CORPUS)))
        for name in ("tracks", "scores", "segments")
    }


def _memory(workspace: Path) -> dict[str, float]:
    """What the service's processes hold in MiB, by name."""
    from flows.service.state import ServiceState

    running = ServiceState.read(workspace / ".prefect").running()
    found = {name: own.find() for name, own in running.items()}
    return {name: each.memory_info().rss / MIB for name, each in found.items() if each is not None}
