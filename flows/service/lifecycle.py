"""The standing service: a Prefect server, workers, and everything registered with the server.

``up`` starts what is not there and registers what is missing; again, it changes nothing. ``down``
stops what ``up`` started, and nothing else. Prefect is imported once its settings are in place.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

from flows.server.hosts import EVERYWHERE, address_of
from flows.server.login import FILE as LOGIN_FILE
from flows.server.login import login_of, put_login
from flows.server.process import (
    CHOSEN_BY_USER,
    POLL_S,
    STARTUP_TIMEOUT_S,
    configure_prefect,
    healthy,
    make_home,
    server_command,
    server_environment,
)
from flows.service import processes
from flows.service.listening import require_own_host, who_listens
from flows.service.processes import OwnProcess
from flows.service.state import (
    SERVER,
    STATE_FILE,
    ServiceState,
    installed_versions,
    locked,
    service_home,
)
from storage.errors import UserError
from storage.workspace import Workspace

DEFAULT_PORT = 4200
PATIENCE_S = 30.0
"""How long a worker may take to end its runs."""

NOTIFY_VARIABLE = "SILENTMIX_NOTIFY_URL"
HOME_VARIABLE = "SILENTMIX_SERVICE"
"""In the environment of workers and their runs: the folder of the service that they are of."""

Say = Callable[[str], None]


def up(
    workspace: str, port: int | None, notify_url: str, say: Say, *, host: str | None = None
) -> str:
    """Start the service where it does not run, and register everything.

    Args:
        workspace: folder or URL that runs work in, unless their parameters say otherwise.
        port: for the server; None takes that of the server that runs, or ran last, or else
            :data:`DEFAULT_PORT`.
        notify_url: webhook that is told of runs that fail, or empty.
        say: told in a line what was done.
        host: address or name that the server listens on and is called by, or
            :data:`~flows.server.hosts.EVERYWHERE`; None takes that of the server that runs, or ran
            last, or else this machine's own.

    Returns:
        The server's address.

    Raises:
        UserError: the host is not this machine's, the port is taken, a server or a worker is of
            another version or does not start.
        WorkspaceError: the workspace is something else.
    """
    location = Workspace.check(workspace, create=True).location
    configure_prefect(workspace, os.environ)
    home = make_home({"PREFECT_HOME": str(service_home(workspace, os.environ))})
    with locked(home):
        state = ServiceState.read(home)
        state.processes = state.running()
        _refuse_other_versions(state)
        state.versions = installed_versions()
        if chosen := chosen_server():
            _settle(state, chosen)
        else:
            put_login(home, os.environ)
            _start_own_server(state, home, host, port)
        _wait_for_server(state, home)
        from flows.service import deployments, registration

        with registration.server(state.address, own_login(state, home)) as client:
            registration.require_version(client, state.address)
            if SERVER not in state.processes:  # whoever's it is, others may use it
                deployments.require_same_workspace(client, location)
            for made in registration.register_all(client, location, notify_url):
                say(f"registered: {made}")
            pools = registration.own_pools(client)
            for pool in pools:
                _start_worker(state, home, pool, location)
            workers = {pool: state.processes[_worker(pool)] for pool in pools}
            registration.wait_for_workers(client, workers)
            for problem in registration.foreign_workers(client):
                say(problem)
    return state.address


def _start_own_server(state: ServiceState, home: Path, host: str | None, port: int | None) -> None:
    if SERVER not in state.processes:
        port = port or _last_port(state) or DEFAULT_PORT
        state.host = host or state.host
        _start_server(state, home, port)
        return
    runs_on = urlsplit(state.address).port
    wanted = (host or state.host, port or runs_on)
    if wanted != (state.host, runs_on):
        raise UserError(
            f"the server runs at {state.address} and listens on {state.host} already; "
            "`silentmix down`, then `silentmix up --host {} --port {}` moves it".format(*wanted)
        )


def down(workspace: str, say: Say) -> None:
    """Stop what ``up`` started: the workers first, since they have things to tell the server."""
    configure_prefect(workspace, os.environ)
    home = service_home(workspace, os.environ)
    if not (home / STATE_FILE).exists():
        say("nothing was started here")
        return
    with locked(home):
        state = ServiceState.read(home)
        running = state.running()
        workers = [own for name, own in running.items() if name != SERVER]
        # the runs of a worker that was killed go on without it
        runs = processes.with_variable(HOME_VARIABLE, str(home))
        processes.stop(workers, PATIENCE_S, runs)
        if workers and SERVER in running and healthy(state.address):
            from flows.service import registration

            with registration.server(state.address, own_login(state, home)) as client:
                if count := registration.end_what_never_began(client):
                    say(f"runs that had not begun: {count}; start them again")
        processes.stop([own for name, own in running.items() if name == SERVER], PATIENCE_S)
        (home / STATE_FILE).unlink()
    stopped = [*running, *(["runs of a lost worker"] if runs and not workers else [])]
    say(f"stopped: {', '.join(stopped)}" if stopped else "everything had stopped already")


def chosen_server() -> str:
    """The address of the server that the user has chosen by Prefect's own settings, or empty."""
    if not any(name in os.environ for name in CHOSEN_BY_USER if name != "PREFECT_HOME"):
        return ""
    from prefect.settings import get_current_settings

    return (get_current_settings().api.url or "").removesuffix("/api").rstrip("/")


def how_to_log_in(workspace: str, *, show: bool) -> str:
    """How a person gets into the UI of a server that was started here, or empty.

    Args:
        workspace: folder or URL of the workspace.
        show: whether to say the login itself, for a person's eyes alone, and not only where it is.
    """
    home = service_home(workspace, os.environ)
    login = own_login(ServiceState.read(home), home)
    if not login:
        return ""
    return f"log in with {login}" if show else f"its login is in {home / LOGIN_FILE}"


def address_elsewhere(workspace: str) -> str:
    """What other machines may call the server by, where it was started to listen for them."""
    state = ServiceState.read(service_home(workspace, os.environ))
    if SERVER not in state.processes or state.host != EVERYWHERE:
        return ""
    return f"http://{socket.gethostname()}:{urlsplit(state.address).port}"


def own_login(state: ServiceState, home: Path) -> str:
    """The login of the server, if it is one that was started here; else empty."""
    return login_of(home) if SERVER in state.processes else ""


def _last_port(state: ServiceState) -> int | None:
    """The port of a server that was started here and was lost; the workers still look for it."""
    port = urlsplit(state.address).port
    return port if port and state.address == address_of(port, state.host) else None


def _settle(state: ServiceState, address: str) -> None:
    """Note where the server is; workers that talk to another address are stopped."""
    if address != state.address:
        workers = [name for name in state.processes if name != SERVER]
        processes.stop([state.processes.pop(name) for name in workers], PATIENCE_S)
    state.address = address


def _refuse_other_versions(state: ServiceState) -> None:
    installed = installed_versions()
    if state.processes and state.versions != installed:
        was, now = (
            ", ".join(f"{name} {version}" for name, version in versions.items())
            for versions in (state.versions, installed)
        )
        raise UserError(
            f"what runs was started by {was}, and this is {now}; `silentmix down`, then "
            "`silentmix up` starts it anew"
        )


def _start_server(state: ServiceState, home: Path, port: int) -> None:
    require_own_host(state.host)
    address = address_of(port, state.host)
    if listener := who_listens(port, state.host):
        use = ""
        if "Prefect" in listener:
            use = (
                f"to use that one set PREFECT_API_URL={address}/api (and "
                "PREFECT_API_AUTH_STRING, if it asks for a login); or "
            )
        raise UserError(f"port {port} is taken by {listener}; {use}choose one with --port")
    _settle(state, address)
    state.processes[SERVER] = processes.start(
        server_command(port, state.host, lasting=True),
        server_environment(port, os.environ, state.host),
        home / "standing-server.log",
        home,
    )
    state.write(home)


def _wait_for_server(state: ServiceState, home: Path) -> None:
    own: OwnProcess | None = state.processes.get(SERVER)
    deadline = time.monotonic() + (STARTUP_TIMEOUT_S if own else 0.0)
    while not healthy(state.address):
        if own is None:
            raise UserError(
                f"no Prefect server answers at {state.address}, which PREFECT_API_URL or a profile "
                "names; start it, or unset that to have one of your own"
            )
        if own.find() is None or time.monotonic() > deadline:
            processes.stop([own], PATIENCE_S)
            raise UserError(
                f"the Prefect server did not start; its log {own.log}: {own.log_tail()}"
            )
        time.sleep(POLL_S)
    state.write(home)


def _worker(pool: str) -> str:
    return f"worker-{pool}"


def _start_worker(state: ServiceState, home: Path, pool: str, location: str) -> None:
    from flows.service import registration

    name = _worker(pool)
    if name in state.processes:
        return
    environ: MutableMapping[str, str] = {
        **os.environ,
        "PREFECT_API_URL": f"{state.address}/api",
        "SILENTMIX_WORKSPACE": location,
        HOME_VARIABLE: str(home),
        # its log is for what goes wrong; the UI has the logs of the runs
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
        # after a crash Prefect runs a script of its own, whose folder would hide our `storage`
        "PYTHONSAFEPATH": "1",
    }
    command = [
        sys.executable, "-m", "prefect", "worker", "start",
        "--pool", pool, "--type", "process", "--name", registration.worker_name(),
    ]  # fmt: skip
    state.processes[name] = processes.start(command, environ, home / f"{name}.log", home)
    state.write(home)
