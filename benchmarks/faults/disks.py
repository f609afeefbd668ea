"""Disks that fill."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.faults.case import Case, snapshot
from benchmarks.faults.hooks import scratch_in

LARGE = 2**31
BLOCK = 4096


def can_mount(folder: Path) -> bool:
    """Whether we may make disks of any size here."""
    with suppress(OSError, subprocess.CalledProcessError), _disk(folder, 2**20):
        return True
    return False


@contextmanager
def _disk(folder: Path, num_bytes: int) -> Iterator[None]:
    """A disk of that size at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)  # noqa: S607


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)  # noqa: S607


def _used(folder: Path) -> int:
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK + BLOCK for path in folder.rglob("*"))


def disk_full(case: Case) -> None:
    """The workspace's disk fills in the middle of a stage; then there is room."""
    shutil.rmtree(case.workspace)
    with _disk(case.workspace, LARGE):
        shutil.copytree(snapshot(case.root, case.stage), case.workspace, dirs_exist_ok=True)
        room = case.draws.choice((0, 1, 4, 16, 64)) * BLOCK
        _mount("-o", f"remount,size={_used(case.workspace) + room}", str(case.workspace))
        case.said.append(f"{room} bytes of room")
        case.run()
        _mount("-o", f"remount,size={LARGE}", str(case.workspace))
        case.again()
        done = case.root / "done"
        shutil.rmtree(done, ignore_errors=True)
        shutil.copytree(case.workspace, done)
    shutil.rmtree(case.workspace)
    done.rename(case.workspace)


def files_too_large(case: Case) -> None:
    """No file may be larger than some bytes (a quota); then they may."""
    limit = case.draws.choice((100, 3_000, 20_000, 60_000))
    case.said.append(f"files of {limit} bytes at most")

    def arrange() -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    log = case.root / "log.txt"
    log.write_text("")
    case.run(before=arrange)


def scratch_full(case: Case) -> None:
    """There is no room for temporary files; then there is."""
    with _disk(case.root / "scratch", case.draws.choice((16, 40, 200)) * BLOCK):
        case.run(before=scratch_in(case.root / "scratch"))
