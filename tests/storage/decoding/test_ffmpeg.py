from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.decoding import ffmpeg
from storage.decoding.ffmpeg import PROGRAMS, put_ffmpeg_on_path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without ffmpeg: an empty folder is all of PATH, another one is for caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def fake(folder: Path, program: str) -> str:
    path = folder / "bin" / program
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_both_programs_run(bare: Path) -> None:
    assert not any(shutil.which(program) for program in PROGRAMS)
    put_ffmpeg_on_path()
    for program in PROGRAMS:
        found = shutil.which(program)
        assert found is not None
        assert found.startswith(str(bare / "cache"))
        said = subprocess.run([program, "-version"], capture_output=True, check=True, text=True)
        assert said.stdout.startswith(f"{program} version")


@pytest.mark.usefixtures("bare")
def test_a_second_call_changes_nothing() -> None:
    put_ffmpeg_on_path()
    path = os.environ["PATH"]
    put_ffmpeg_on_path()
    assert os.environ["PATH"] == path


def test_the_systems_own_are_kept(bare: Path) -> None:
    own = fake(bare, "ffmpeg")
    put_ffmpeg_on_path()
    assert shutil.which("ffmpeg") == own
    assert shutil.which("ffprobe") != own
    fake(bare, "ffprobe")
    path = os.environ["PATH"] = str(bare / "bin")
    put_ffmpeg_on_path()
    assert os.environ["PATH"] == path


def test_links_to_an_environment_that_is_gone_are_mended(bare: Path) -> None:
    put_ffmpeg_on_path()
    for link in (bare / "cache").rglob("ff*"):
        if link.is_symlink():
            link.unlink()
            link.symlink_to(bare / "gone")
    os.environ["PATH"] = str(bare / "bin")
    assert shutil.which("ffmpeg") is None
    put_ffmpeg_on_path()
    assert shutil.which("ffmpeg") is not None


def test_many_at_once_do_not_trip_over_each_other(bare: Path) -> None:
    program = bare / "bin" / "program"
    program.write_text("x")
    name = bare / "name"
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ffmpeg._link, program, name) for _ in range(50)]:
            done.result()
    assert name.read_text() == "x"
    assert sorted(path.name for path in bare.iterdir()) == ["bin", "name"]


def test_without_links_there_are_copies(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no links here")

    program = bare / "bin" / "program"
    program.write_text("x")
    program.chmod(0o755)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    ffmpeg._link(program, bare / "name")
    assert not (bare / "name").is_symlink()
    assert os.access(bare / "name", os.X_OK)


def test_a_home_that_can_not_be_written_to_is_no_obstacle(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr(tempfile, "tempdir", str(bare))
    put_ffmpeg_on_path()
    found = shutil.which("ffprobe")
    assert found is not None
    assert Path(found).parent.parent == bare
    assert Path(found).parent.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("bare")
def test_musdb_imports() -> None:
    code = "from storage.decoding import ffmpeg; ffmpeg.put_ffmpeg_on_path(); import musdb, museval"
    folder = Path(ffmpeg.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
