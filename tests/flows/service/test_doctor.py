"""``silentmix doctor`` finds what is broken, and says how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

from flows.cli import main as cli
from flows.cli import service_commands
from flows.service import doctor, lifecycle
from flows.service.doctor import Finding, examine
from flows.service.processes import OwnProcess
from flows.service.state import STATE_FILE, ServiceState
from storage.workspace import Workspace


@pytest.fixture(autouse=True)
def nobody_on_the_usual_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs on this machine."""
    monkeypatch.setattr(doctor, "who_listens", lambda _: "")
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    return Workspace(str(tmp_path / "w"), create=True).location


def home_of(workspace: str) -> Path:
    home = Path(workspace) / ".prefect"
    home.mkdir()
    return home


def wrong(workspace: str) -> dict[str, Finding]:
    return {name: finding for name, finding in examine(workspace).items() if finding.mend}


def test_nothing_is_wrong(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not wrong(workspace)
    assert cli.main(["doctor", "--workspace", workspace]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in doctor.CHECKS)


def test_no_workspace_yet_is_nothing_wrong(tmp_path: Path) -> None:
    assert not wrong(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert set(wrong(str(tmp_path))) == {"workspace"}
    assert cli.main(["doctor", "--workspace", str(tmp_path)]) == service_commands.EXIT_WRONG
    said = capsys.readouterr().out
    assert "holds files but is no silentmix workspace" in said
    assert "name another --workspace" in said


def test_a_package_of_another_version(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(_: str) -> list[str]:
        return ["numpy<0.1", "no-such-package", 'absent; extra == "dev"', "torch"]

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    found = wrong(workspace)["packages"]
    assert f"numpy {importlib.metadata.version('numpy')} is not <0.1" in found.said
    assert "no-such-package is missing" in found.said
    assert "absent" not in found.said


def test_another_python(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    assert doctor.python(workspace).mend


def test_no_ffmpeg(workspace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "put_ffmpeg_on_path", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ffmpeg does not run" in doctor.ffmpeg(workspace).said


def test_a_gpu_that_torch_does_not_see(
    workspace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "install a build of torch" in doctor.gpu(workspace).mend


def test_a_full_disk(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 10**18)
    assert set(wrong(workspace)) == {"disk"}


def test_a_server_that_is_gone(workspace: str) -> None:
    ended = OwnProcess(pid=2**22 + 1, started_at=0.0, command=("python",), log="")
    address = "http://127.0.0.1:9"
    ServiceState(address=address, processes={"server": ended}).write(home_of(workspace))
    found = wrong(workspace)
    assert set(found) == {"server", "workers"}
    assert found["server"].said == f"none answers at {address}"
    assert "silentmix up" in found["server"].mend


def test_a_note_that_can_not_be_read(workspace: str) -> None:
    (home_of(workspace) / STATE_FILE).write_text("{")
    assert STATE_FILE in wrong(workspace)["server"].said


def test_another_program_on_the_usual_port(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "who_listens", lambda _: "another program")
    found = wrong(workspace)["server"]
    assert f"port {lifecycle.DEFAULT_PORT} is taken by another program" in found.said
    assert "--port" in found.mend


def test_a_check_that_breaks_is_a_finding(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> Finding:
        raise ImportError("no\nlibrary")

    monkeypatch.setitem(doctor.CHECKS, "GPU", broken)
    assert wrong(workspace)["GPU"].said == "ImportError: no library"
