"""What ``silentmix doctor`` asks of the service: what runs, what waits, and what went wrong.

Prefect is imported once its settings are in place, by the checks that ask the server.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from flows.catalogue import POOLS
from flows.server.process import healthy
from flows.service.finding import Finding
from flows.service.lifecycle import DEFAULT_PORT, chosen_server, own_login
from flows.service.listening import who_listens
from flows.service.lost_events import FOLDER, lost_events
from flows.service.server_log import loudest_complaint
from flows.service.state import SERVER, ServiceState, service_home, standing_server

OFTEN = 3
"""How often an error must be in the log: one that passed is nothing to mend."""

MOST_KINDS = 5
NO_ANSWER = "not known as long as no server answers; `silentmix up` starts one"
LOCKED = "database is locked"
POSTGRESQL = (
    "SQLite has more to do than it can: put PostgreSQL under the server "
    "(PREFECT_SERVER_DATABASE_CONNECTION_URL, see docs/operations.md)"
)


def server(workspace: str) -> Finding:
    """The Prefect server: whether it answers, and its version."""
    address, state = _service(workspace)
    if not address and not state.processes:
        if listener := who_listens(DEFAULT_PORT):
            return Finding(
                f"none was started here, and port {DEFAULT_PORT} is taken by {listener}",
                "`silentmix up --port` another one; or, to use that server, set PREFECT_API_URL",
            )
        return Finding("none; commands start their own, `silentmix up` starts one that lasts")
    from flows.service import registration
    from storage.errors import UserError

    address = address or state.address
    if not healthy(address):
        return Finding(f"none answers at {address}", "`silentmix up` starts it again")
    with registration.server(address, _login(workspace, state)) as client:
        try:
            version = registration.require_version(client, address)
        except UserError as error:
            return Finding(str(error), "`silentmix down`, then `silentmix up`, if it is yours")
    return Finding(f"{address}, version {version}")


def workers(workspace: str) -> Finding:
    """Whether each pool has a worker online, of the version installed here."""
    address, state = _service(workspace)
    if not address and not state.processes:
        return Finding("none; `silentmix up` starts them")
    if not (server := _answering(workspace)):
        return Finding(NO_ANSWER)
    from flows.service import registration

    with registration.server(*server) as client:
        idle = [pool for pool in POOLS if not registration.online(client, pool)]
        if idle:
            return Finding(
                f"none is online for {', '.join(idle)}",
                "`silentmix up` starts one, or `prefect worker start --pool` where it should run",
            )
        if foreign := registration.foreign_workers(client):
            return Finding("; ".join(foreign), "`silentmix down`, then `silentmix up`, if yours")
    return Finding(f"online for {', '.join(POOLS)}")


def schedules(workspace: str) -> Finding:
    """Whether what is switched on to run by schedule has its next runs planned."""
    if not (server := _answering(workspace)):
        return Finding(NO_ANSWER)
    from flows.service import registration

    with registration.server(*server) as client:
        planned = registration.planned_runs(client)
    idle = [name for name, upcoming in planned.items() if not upcoming]
    if idle:
        return Finding(
            f"switched on, and no run is planned: {', '.join(idle)}",
            "Prefect's scheduler does not work, or the schedule has ended: look at it in the UI, "
            "and at `server log` below",
        )
    if not planned:
        return Finding("none is switched on, or only just now")
    return Finding(f"the next runs are planned: {', '.join(planned)}")


def waiting(workspace: str) -> Finding:
    """Whether runs wait that should have begun, and what for."""
    if not (server := _answering(workspace)):
        return Finding(NO_ANSWER)
    from flows.service import registration
    from flows.service.waiting_runs import waiting_runs

    with registration.server(*server) as client:
        found = waiting_runs(client)
    if not found:
        return Finding("none that should have begun")
    mends = dict.fromkeys(each.mend for each in found if each.mend)
    return Finding("; ".join(each.said for each in found), "; ".join(mends))


def clocks(workspace: str) -> Finding:
    """Whether the server has the time that this machine has."""
    if not (server := _answering(workspace)):
        return Finding(NO_ANSWER)
    from flows.service import registration
    from flows.service.clocks import differences

    with registration.server(*server) as client:
        found = differences(client, server[0])
    if not found:
        return Finding("the server's is as this machine's")
    return Finding(
        "; ".join(found),
        "set the clocks by NTP (`timedatectl set-ntp true`) there and here: by them runs begin, "
        "and are marked late or lost",
    )


def events(workspace: str) -> Finding:
    """Whether a server that was started here gave up on an event."""
    home = service_home(workspace, os.environ)
    if (lost := lost_events(home)) is None:
        return Finding("none was lost")
    kinds, last = lost
    told = ", ".join(f"{name} ({count})" for name, count in kinds.most_common(MOST_KINDS))
    return Finding(
        f"lost: {kinds.total()}, the last at {last:%Y-%m-%d %H:%M:%S} UTC: {told}",
        "what automations do about them was not done: run by hand what a "
        "`silentmix.STAGE.completed` was to start, then remove "
        f"{home / FOLDER}; if it happens again, {POSTGRESQL}",
    )


def server_log(workspace: str) -> Finding:
    """Whether the server that was started here complains of the same thing again and again."""
    state = ServiceState.read(service_home(workspace, os.environ))
    own = state.processes.get(SERVER)
    if own is None or not (log := Path(own.log)).is_file():
        return Finding("none; `silentmix up` starts a server")
    found = loudest_complaint(log, own.log_start_byte)
    if found is None or found.count < OFTEN:
        return Finding(str(log))
    mend = (
        POSTGRESQL
        if LOCKED in found.said
        else "`silentmix down`, then `silentmix up`, and if it goes on, `make` installs the locked "
        "versions"
    )
    return Finding(
        f"{found.count} errors alike from {found.first_at} to {found.last_at}, the last: "
        f"{found.said}",
        f"see {log}; {mend}",
    )


def _service(workspace: str) -> tuple[str, ServiceState]:
    """The address of the server in use, if there is one, and what was started here."""
    home = service_home(workspace, os.environ)
    return chosen_server() or standing_server(home), ServiceState.read(home)


def _answering(workspace: str) -> tuple[str, str] | None:
    """The address and login of the server in use, if it answers."""
    address, state = _service(workspace)
    address = address or (state.address if state.processes else "")
    return (address, _login(workspace, state)) if address and healthy(address) else None


def _login(workspace: str, state: ServiceState) -> str:
    return own_login(state, service_home(workspace, os.environ))


SERVICE_CHECKS: dict[str, Callable[[str], Finding]] = {
    "server": server,
    "workers": workers,
    "schedules": schedules,
    "waiting runs": waiting,
    "clocks": clocks,
    "events": events,
    "server log": server_log,
}
