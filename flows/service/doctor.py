"""``silentmix doctor``: what is wrong with the installation and the service, and how to mend it.

A check is a function that returns a finding; what it raises is a finding too. None needs what
another one checks, so that a broken package leaves the others standing.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from flows.service.finding import Finding
from flows.service.service_checks import SERVICE_CHECKS
from storage.decoding.ffmpeg import PROGRAMS, put_ffmpeg_on_path
from storage.decoding.prints import HOW_TO_GET, can_print
from storage.workspace import Workspace, WorkspaceError

LEAST_FREE_BYTES = 5 * 10**9
GIGABYTE = 1e9


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


CHECKS: dict[str, Callable[[str], Finding]] = {
    "Python": python,
    "packages": packages,
    "ffmpeg": ffmpeg,
    "Chromaprint": chromaprint,
    "GPU": gpu,
    "workspace": workspace_rights,
    "disk": disk,
    **SERVICE_CHECKS,
}
