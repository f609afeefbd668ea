"""One run of a stage on a corpus at a time, on a Prefect server that several runs share.

A run holds a slot of a global concurrency limit, which the UI shows under Concurrency. The slot is
leased: that of a run that was lost is free again a minute later. Two runs at once would do no harm,
since both write the same parts; they would do the work twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL

from flows.server.best_effort import best_effort
from flows.server.process import PRIVATE
from storage.fingerprint import short_hash

LEASE_S = 60
"""The shortest that Prefect has."""


@contextmanager
def exclusive_run(stage: str, corpus: str, workspace: str) -> Iterator[None]:
    """Wait until no other run of a stage works on a corpus, and be the one that does.

    On a command's own server, or the temporary one that Prefect starts where it is told of none,
    there is nobody to wait for. Where the server is too busy to give turns, the run goes on.

    Args:
        stage: its name.
        corpus: what it works on.
        workspace: location of the workspace, as every run on this server names it.
    """
    if os.environ.get(PRIVATE) or not PREFECT_API_URL.value():
        yield
        return
    name = f"silentmix:{stage}:{corpus}:{short_hash(workspace, 8)}"
    slot = concurrency(
        name, lease_duration=LEASE_S, strict=True, raise_on_lease_renewal_failure=False
    )
    has_turn = True
    try:
        if _is_taken(name):
            get_run_logger().info(
                "waits: another run of %s works on %s; if there is none, "
                "`prefect gcl update '%s' --active-slots 0` goes on",
                stage,
                corpus,
                name,
            )
        slot.__enter__()
    except (ConcurrencySlotAcquisitionError, httpx.HTTPError) as error:
        has_turn = False  # the client has tried again already
        get_run_logger().warning(
            "the Prefect server can't tell whether another run of %s works on %s (%s); this one "
            "goes on",
            stage,
            corpus,
            error,
        )
    try:
        yield
    finally:
        if has_turn:
            # a server that went down meanwhile frees the slot by itself, when the lease is up
            with best_effort("that its turn is over"):
                slot.__exit__(None, None, None)


def _is_taken(name: str) -> bool:
    """Whether a run holds the slot; makes the limit where there is none."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_global_concurrency_limit_by_name(name).active_slots > 0
        except ObjectNotFound:
            pass
        try:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        except ObjectAlreadyExists:  # another run was faster
            return True
        return False
