from __future__ import annotations

import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from storage.music_format import MusicFormat
from storage.workspace import FORMAT, MARKER, Workspace, WorkspaceError


def test_what_was_put_is_read_back(workspace: Workspace) -> None:
    workspace.put_json("models/a/config.json", {"b": 1, "ä": [2.5]})
    assert workspace.read_json("models/a/config.json") == {"b": 1, "ä": [2.5]}
    assert workspace.find("models") == ["models/a/config.json"]
    assert list(workspace.folders("models")) == ["a"]
    workspace.remove("models/a/config.json")
    assert not workspace.exists("models/a/config.json")


def test_put_gives_a_seekable_file_and_returns_its_size(workspace: Workspace) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"....tail")
        file.seek(0)
        file.write(b"head")

    assert workspace.put("audio/x.bin", write) == 8
    assert workspace.read("audio/x.bin") == b"headtail"


def test_what_a_store_refuses_is_told_in_a_line() -> None:
    with pytest.raises(
        WorkspaceError, match=r"^s3://no bucket!/x: can't be reached \(.*bucket name"
    ):
        Workspace("s3://no bucket!/x")


def test_what_a_killed_writer_left_is_swept_away(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    workspace = Workspace(str(root), create=True)
    killed = f"""
import os, signal
from storage.workspace import Workspace
Workspace({str(root)!r}).put("audio/a/b.wav", lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode < 0
    assert len(list(root.rglob("*.tmp"))) == 1

    def write(file: BinaryIO) -> None:
        file.write(b"alive")
        assert workspace.sweep("audio") == 1  # and not this one

    workspace.put("audio/a/c.wav", write)
    assert workspace.find("audio") == ["audio/a/c.wav"]
    assert not list(root.rglob("*.tmp"))


def test_sweeping_where_there_is_nothing(workspace: Workspace) -> None:
    assert workspace.sweep("nowhere") == 0


def test_the_files_written_last_come_first(workspace: Workspace) -> None:
    names = ["m/b", "m/x/a", "m/c"]
    for age, name in enumerate(reversed(names)):
        workspace.put_bytes(name, b"")
        if workspace.is_local:  # whose clock may not tick between two writes
            os.utime(workspace.resolve(name), (age, age))
    assert workspace.find_newest_first("m") == names
    assert sorted(names) == workspace.find("m")
    assert workspace.find_newest_first("nothing") == []


def test_a_failed_put_leaves_nothing_and_keeps_the_old_content(workspace: Workspace) -> None:
    workspace.put_bytes("a/b", b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("killed")

    for name in ("a/b", "a/new"):
        with pytest.raises(RuntimeError, match="killed"):
            workspace.put(name, fail)
    assert workspace.read("a/b") == b"old"
    assert workspace.find("a") == ["a/b"]
    if workspace.is_local:
        assert [path.name for path in (Path(workspace.root) / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", ".", "a\0b", "a/.."])
def test_no_path_leaves_the_workspace(workspace: Workspace, path: str) -> None:
    with pytest.raises(WorkspaceError, match="not a path inside"):
        workspace.resolve(path)


def test_a_workspace_travels_to_other_processes(workspace: Workspace) -> None:
    workspace.put_bytes("a", b"1")
    assert pickle.loads(pickle.dumps(workspace)).read("a") == b"1"


def test_a_command_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("workspace", "my music"):
        Workspace(str(tmp_path / name), create=True)
    monkeypatch.chdir(tmp_path)
    usual, other = (Workspace(str(tmp_path / name)) for name in ("workspace", "my music"))
    assert usual.command("publish f1") == Workspace("workspace").command("publish f1")
    assert usual.command("publish f1") == "`silentmix publish f1`"
    words = shlex.split(other.command("manifests query 'SELECT 1'").strip("`"))
    assert words == ["silentmix", "manifests", "query", "SELECT 1", "--workspace", other.location]
    monkeypatch.chdir("/")
    assert usual.command("status") == f"`silentmix status --workspace {usual.location}`"


def test_opening_again_needs_no_create(workspace: Workspace) -> None:
    assert Workspace(workspace.location).music == MusicFormat()
    assert Workspace(workspace.location, create=True).music == MusicFormat()


OWN = MusicFormat(sources=("vocals", "accompaniment"), sample_rate=16_000, num_channels=1)


def test_a_workspace_keeps_what_music_it_holds(tmp_path: Path) -> None:
    made = Workspace(str(tmp_path / "w"), create=True, music=OWN)
    for opened in (
        made,
        Workspace(made.location),
        Workspace(made.location, create=True, music=OWN),
        Workspace.check(made.location),
        pickle.loads(pickle.dumps(made)),
    ):
        assert opened.music == OWN
    assert made.read_json(MARKER)["format"] == 2, "those who know no other music must refuse it"


def test_a_workspace_of_0_1_0_holds_the_default(workspace: Workspace) -> None:
    assert workspace.read_json(MARKER)["format"] == 1, "0.1.0 can work with the default"
    workspace.put_json(MARKER, {"format": 1})
    assert Workspace(workspace.location).music == MusicFormat()


def test_a_workspace_that_holds_other_music_is_refused(tmp_path: Path) -> None:
    location = Workspace(str(tmp_path / "w"), create=True, music=OWN).location
    told = (
        f"{location}: holds vocals, accompaniment at 16000 Hz in mono, and can't hold drums, bass, "
        "other, vocals at 44100 Hz in stereo too; choose another --workspace"
    )
    for opening in (Workspace, Workspace.check):
        with pytest.raises(WorkspaceError) as refused:
            opening(location, create=True, music=MusicFormat())
        assert str(refused.value) == told


@pytest.mark.parametrize("music", [None, {}, {"sources": ["bass"]}])
def test_a_workspace_that_says_it_wrongly_is_named(workspace: Workspace, music: object) -> None:
    workspace.put_json(MARKER, {"format": 2, "music": music})
    with pytest.raises(WorkspaceError, match=r"workspace\.json speaks of .*; restore it"):
        Workspace(workspace.location)


def test_a_missing_workspace_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"nowhere: no silentmix workspace here"):
        Workspace(str(tmp_path / "nowhere"))


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(WorkspaceError, match="holds files but is no silentmix workspace"):
        Workspace(str(tmp_path), create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_of_two_that_begin_it_at_once_the_second_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "w")
    listing = Workspace._listing

    def begun_meanwhile(workspace: Workspace) -> list[str]:
        monkeypatch.setattr(Workspace, "_listing", listing)
        Workspace(place, create=True)
        return listing(workspace)

    monkeypatch.setattr(Workspace, "_listing", begun_meanwhile)
    assert Workspace(place, create=True).music == MusicFormat()
    monkeypatch.setattr(Workspace, "_listing", begun_meanwhile)
    (tmp_path / "w" / MARKER).unlink()
    with pytest.raises(WorkspaceError, match="can't hold"):
        Workspace(place, create=True, music=MusicFormat(sample_rate=16_000))


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="is a file"):
        Workspace(str(tmp_path / "file"), create=True)


def test_a_folder_that_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    workspace.put_json("manifests/x.json", {})
    workspace.require_writable()
    for folder in (workspace.root, f"{workspace.root}/manifests"):
        with monkeypatch.context() as patch:  # root may write everything
            patch.setattr(os, "access", lambda path, _, refused=folder: str(path) != refused)
            with pytest.raises(WorkspaceError, match=rf"^{folder}: may not be written"):
                workspace.require_writable()


def test_a_newer_workspace_is_refused(workspace: Workspace) -> None:
    workspace.put_json(MARKER, {"format": FORMAT + 1})
    with pytest.raises(WorkspaceError, match=f"format {FORMAT + 1} is newer"):
        Workspace(workspace.location, create=True)
