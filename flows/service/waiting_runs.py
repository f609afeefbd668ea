"""Runs that should have begun and have not, and what they wait for."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType, WorkPool, WorkQueue

from flows.catalogue import POOLS
from flows.service.finding import Finding
from flows.service.registration import MOST_RUNS, online

PATIENCE = timedelta(minutes=2)
"""How long after its time a run may begin: workers ask every 15 s."""

UNPAUSE = "switch it on in the UI, under Work Pools"
FULL = (
    "they begin as those end; if none of those goes on, cancel it in the UI, or raise the limit "
    "there, under Work Pools"
)


def waiting_runs(client: SyncPrefectClient) -> list[Finding]:
    """What waits for more than :data:`PATIENCE` to begin in a pool, by what it waits for."""
    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(
            before_=datetime.now(UTC) - PATIENCE
        ),
    )
    runs = client.read_flow_runs(flow_run_filter=overdue, limit=MOST_RUNS)
    counts = Counter(
        (run.work_pool_name, run.work_queue_name)
        for run in runs
        if run.work_pool_name and run.work_queue_name
    )
    at_least = "at least " if len(runs) == MOST_RUNS else ""
    found = []
    for (pool, queue), count in sorted(counts.items()):
        reason, mend = _reason(client, pool, queue)
        where = f"pool {pool}" if queue == "default" else f"pool {pool}, queue {queue}"
        found.append(
            Finding(f"runs of {where} that should have begun: {at_least}{count}; {reason}", mend)
        )
    return found


def _reason(client: SyncPrefectClient, pool_name: str, queue_name: str) -> tuple[str, str]:
    """What keeps the runs of a queue from beginning, and what to do about it."""
    pool = client.read_work_pool(pool_name)
    queue = client.read_work_queue_by_name(queue_name, pool_name)
    for name, each in (("pool", pool), ("queue", queue)):
        if each.is_paused:
            return f"the {name} is paused", UNPAUSE
    if not online(client, pool_name):
        start = f"`prefect worker start --pool {pool_name}` where it should run"
        return "no worker is online for it", (
            f"`silentmix up` starts one, or {start}" if pool_name in POOLS else start
        )
    for name, each in (("pool", pool), ("queue", queue)):
        if _is_full(each):
            # behind a training of hours that is as it should be
            return f"all slots of the {name} are taken ({each.concurrency_limit}): {FULL}", ""
    return (
        "a worker is online, and slots are free",
        f"see the log of the worker (`worker-{pool_name}.log` where `silentmix up` started it) and "
        "`server log` below; `silentmix down`, then `silentmix up` starts it anew",
    )


def _is_full(each: WorkPool | WorkQueue) -> bool:
    limit = each.concurrency_limit
    return limit is not None and (each.active_slots or 0) >= limit
