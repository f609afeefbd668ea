"""``silentmix doctor``: what is wrong with the installation and the service, and how to mend it.

A check is a function that returns a finding; what it raises is a finding too. None needs what
another one checks, so that a broken package leaves the others standing.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from flows.catalogue import POOLS
from flows.service.lifecycle import DEFAULT_PORT, chosen_server, own_login, who_listens
from flows.service.server_log import loudest_complaint
from flows.service.state import SERVER, ServiceState, service_home, standing_server
from storage.decoding.ffmpeg import PROGRAMS, put_ffmpeg_on_path
from storage.decoding.prints import HOW_TO_GET, can_print
from storage.workspace import Workspace, WorkspaceError

LEAST_FREE_BYTES = 5 * 10**9
GIGABYTE = 1e9
OFTEN = 3
"""How often an error must be in the log: one that passed is nothing to mend."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        said: what is so.
        mend: what to do about it; empty if nothing is wrong.
    """

    said: str
    mend: str = ""


def examine(workspace: str) -> dict[str, Finding]:
    """Run every check; returns the findings by the names of the checks."""
    return {name: _run(check, workspace) for name, check in CHECKS.items()}


def _run(check: Callable[[str], Finding], workspace: str) -> Finding:
    try:
        return check(workspace)
    except Exception as error:  # noqa: BLE001  what breaks a check is what it was to find
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding(problem, "see what the error says; `make clean` and `make` install anew")


def python(_: str) -> Finding:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    wanted = importlib.metadata.metadata("silentmix")["Requires-Python"]
    if SpecifierSet(wanted).contains(version):
        return Finding(version)
    return Finding(f"{version}, which is not {wanted}", "make PYTHON=python3.13")


def packages(_: str) -> Finding:
    """What silentmix needs, as its metadata says."""
    wrong = []
    wanted = [Requirement(text) for text in importlib.metadata.requires("silentmix") or []]
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        return Finding(", ".join(wrong), "make clean, then make: installs the locked versions")
    import prefect
    import torch

    return Finding(f"prefect {prefect.__version__}, torch {torch.__version__}")


def ffmpeg(_: str) -> Finding:
    """Programs that musdb wants on PATH."""
    put_ffmpeg_on_path()
    for program in PROGRAMS:
        found = shutil.which(program)
        if found is None or subprocess.run([found, "-version"], capture_output=True).returncode:
            return Finding(
                f"{program} does not run", f"install FFmpeg, or remove {found} from PATH"
            )
    return Finding(str(shutil.which(PROGRAMS[0])))


def chromaprint(_: str) -> Finding:
    """What acoustic fingerprints are made with; one can do without."""
    if can_print():
        return Finding("acoustic fingerprints are made")
    return Finding(f"{HOW_TO_GET}; until then copies in other encodings are not known")


def gpu(_: str) -> Finding:
    """Whether torch sees the GPU that the machine has."""
    import torch

    if torch.cuda.is_available():
        names = (torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return Finding(", ".join(names))
    lister = shutil.which("nvidia-smi")
    if lister and not subprocess.run([lister, "--list-gpus"], capture_output=True).returncode:
        return Finding(
            f"there is one, and torch {torch.__version__} can't use it",
            "install a build of torch for its driver; until then stages run on the CPU",
        )
    return Finding("none; stages run on the CPU")


def workspace_rights(workspace: str) -> Finding:
    """Whether the workspace is one, of a format that is known, and can be written."""
    try:
        Workspace.check(workspace, create=True)
    except WorkspaceError as error:
        return Finding(str(error), "name another --workspace")
    try:
        Workspace.check(workspace)
    except WorkspaceError:
        return Finding(f"{workspace} is not there yet; `silentmix ingest` begins it")
    found = Workspace(workspace)
    probe = f"reports/.{uuid.uuid4().hex}"
    try:
        found.put_bytes(probe, b"")
        found.remove(probe)
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding(f"{found.location}: can't be written ({reason})", "mend its rights")
    return Finding(found.location)


def disk(workspace: str) -> Finding:
    """Room for results."""
    if "://" in workspace:
        return Finding("an object store tells no limit")
    folder = Path(workspace).expanduser().resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    said = f"{free / GIGABYTE:.1f} GB are free at {folder}"
    if free < LEAST_FREE_BYTES:
        return Finding(
            said,
            f"make room: {LEAST_FREE_BYTES / GIGABYTE:.0f} GB at least; see docs/operations.md",
        )
    return Finding(said)


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
    from flows.server.process import healthy
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
    from flows.service import registration

    with registration.server(address or state.address, _login(workspace, state)) as client:
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
    address, state = _service(workspace)
    if not address and not state.processes:
        return Finding("none; `silentmix up` registers them")
    from flows.server.process import healthy
    from flows.service import registration

    address = address or state.address
    if not healthy(address):
        return Finding("not known as long as the server does not answer")
    with registration.server(address, _login(workspace, state)) as client:
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


def server_log(workspace: str) -> Finding:
    """Whether the server that was started here complains of the same thing again and again."""
    state = ServiceState.read(service_home(workspace, os.environ))
    own = state.processes.get(SERVER)
    if own is None or not (log := Path(own.log)).is_file():
        return Finding("none; `silentmix up` starts a server")
    found = loudest_complaint(log, own.log_start_byte)
    if found is None or found.count < OFTEN:
        return Finding(str(log))
    return Finding(
        f"{found.count} errors alike from {found.first_at} to {found.last_at}, the last: "
        f"{found.said}",
        f"see {log}; `silentmix down`, then `silentmix up`, and if it goes on, `make` installs "
        "the locked versions",
    )


def _service(workspace: str) -> tuple[str, ServiceState]:
    """The address of the server in use, if there is one, and what was started here."""
    home = service_home(workspace, os.environ)
    return chosen_server() or standing_server(home), ServiceState.read(home)


def _login(workspace: str, state: ServiceState) -> str:
    return own_login(state, service_home(workspace, os.environ))


CHECKS: dict[str, Callable[[str], Finding]] = {
    "Python": python,
    "packages": packages,
    "ffmpeg": ffmpeg,
    "Chromaprint": chromaprint,
    "GPU": gpu,
    "workspace": workspace_rights,
    "disk": disk,
    "server": server,
    "workers": workers,
    "schedules": schedules,
    "server log": server_log,
}
