"""Clocks that differ: of the Prefect server and this machine, and of what the server noted."""

from __future__ import annotations

import socket
import time
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from prefect.client.orchestration import SyncPrefectClient

from flows.catalogue import POOLS
from flows.service.registration import online

TOLERANCE_S = 30.0


def time_of_server(address: str) -> tuple[datetime, datetime] | None:
    """What time it is at the server, and here; None if it does not say.

    Args:
        address: of the server, which answers there.
    """
    asked_at = time.time()
    url = f"{address}/api/health"
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  a server of ours
        said: str | None = answer.headers["Date"]
    if said is None:
        return None
    between = (asked_at + time.time()) / 2
    return parsedate_to_datetime(said).astimezone(UTC), datetime.fromtimestamp(between, UTC)


def differences(client: SyncPrefectClient, address: str) -> list[str]:
    """A line for each clock that is more than :data:`TOLERANCE_S` off.

    A worker's sign of life has the time that the server had: if it is still to come, the server's
    clock was set back, or another server of its database has another one.

    Args:
        client: of the server.
        address: of the server, which answers there.
    """
    if (times := time_of_server(address)) is None:
        return []
    theirs, ours = times
    found = []
    apart_s = abs((theirs - ours).total_seconds())
    if apart_s > TOLERANCE_S:
        found.append(
            f"at the server {address} it is {_said(theirs)}, on this machine "
            f"({socket.gethostname()}) {_said(ours)}: {apart_s:.0f} s apart"
        )
    for pool in POOLS:
        for worker in online(client, pool):
            seen = worker.last_heartbeat_time
            if seen is not None and (seen - theirs).total_seconds() > TOLERANCE_S:
                found.append(
                    f"the worker {worker.name} of pool {pool} was heard of at {_said(seen)}, "
                    f"which at the server {address} is still to come ({_said(theirs)})"
                )
    return found


def _said(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
