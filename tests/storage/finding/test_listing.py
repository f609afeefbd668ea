from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from storage.addresses import is_url
from storage.finding.listing import (
    DiscoveryError,
    NotAllowed,
    list_folder,
    look_up,
    open_location,
    reaching,
    walk,
)


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def walked(root: Path) -> list[str]:
    found = (entry.path for entry in walk(LocalFileSystem(), str(root)))
    return sorted(Path(path).relative_to(root).as_posix() for path in found)


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder unreadable, also for the superuser that tests may run as."""
    real = os.scandir

    def scandir(path: str) -> object:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_loops_of_links_end(tmp_path: Path) -> None:
    write(tmp_path / "a" / "song.wav")
    for name in ("loop", "again", "third"):
        (tmp_path / "a" / name).symlink_to(tmp_path)
        (tmp_path / name).symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert walked(tmp_path) == ["a/song.wav", "self"]


def test_a_thing_comes_under_its_own_name_before_a_link_to_it(tmp_path: Path) -> None:
    write(tmp_path / "z" / "song.wav")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "b.wav").symlink_to(tmp_path / "z" / "song.wav")
    assert walked(tmp_path) == ["z/song.wav"]


def test_links_lead_outside_and_each_thing_comes_once(tmp_path: Path) -> None:
    song = write(tmp_path / "elsewhere" / "album" / "song.wav")
    root = tmp_path / "root"
    root.mkdir()
    for name, target in (("c", song.parent.parent), ("b", song.parent), ("a.wav", song)):
        (root / name).symlink_to(target)
    assert walked(root) == ["a.wav"]


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "copy.wav").hardlink_to(write(tmp_path / "song.wav"))
    assert walked(tmp_path) == ["copy.wav", "song.wav"]


def test_the_root_may_itself_be_a_link_or_hidden(tmp_path: Path) -> None:
    write(tmp_path / ".music" / "song.wav")
    write(tmp_path / ".music" / ".hidden.wav")
    write(tmp_path / ".music" / ".trash" / "song.wav")
    (tmp_path / "link").symlink_to(tmp_path / ".music")
    assert walked(tmp_path / "link") == ["song.wav"]
    assert walked(tmp_path) == ["link/song.wav"]


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    entries = list_folder(LocalFileSystem(), str(tmp_path))
    assert [entry.name for entry in entries] == ["dangling.wav", "pipe.wav"]
    assert not any(entry.is_file or entry.is_folder for entry in entries)


def test_an_unreadable_folder_comes_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "locked" / "b.wav")
    refuse(monkeypatch, tmp_path / "locked")
    assert walked(tmp_path) == ["a.wav", "locked"]
    with pytest.raises(NotAllowed, match="locked: may not be read; check its permissions"):
        walked(tmp_path / "locked")


def test_a_folder_is_entered_only_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "yes" / "a.wav")
    write(tmp_path / "no" / "b.wav")
    refuse(monkeypatch, tmp_path / "no")
    found = walk(LocalFileSystem(), str(tmp_path), lambda path: not path.endswith("/no"))
    assert [entry.name for entry in found] == ["a.wav"]


@pytest.mark.parametrize("name", ["nowhere", "file.txt/below", "n" * 300])
def test_nothing_is_there(tmp_path: Path, name: str) -> None:
    write(tmp_path / "file.txt")
    assert look_up(LocalFileSystem(), str(tmp_path / name)) is None


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://bucket/x", True),
        ("memory://x", True),
        ("simplecache::s3://bucket/x", True),
        ("/music/a::b", False),
        ("./a::b", False),
        ("C:/music", False),
        ("music", False),
    ],
)
def test_is_url(location: str, expected: bool) -> None:
    assert is_url(location) is expected


def test_local_paths_are_absolute_and_taken_literally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_location("a/../b/")[1] == f"{tmp_path}/b"
    assert open_location(f"/{tmp_path}//b")[1] == f"{tmp_path}/b"
    assert open_location("~/b")[1] == f"{tmp_path}/home/b"
    assert open_location("./a::b")[1] == f"{tmp_path}/a::b"
    assert open_location(f"file://{tmp_path}/b")[1] == f"{tmp_path}/b"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("", "'': no path; name a file, a folder or a URL"),
        ("a\0b", "'a\\x00b': no path; name a file, a folder or a URL"),
        (
            "nonsense://x",
            "nonsense://x: can't be read (Protocol not known: nonsense); check the address, "
            "and for a remote place the credentials and the network",
        ),
    ],
)
def test_no_place(location: str, message: str) -> None:
    with pytest.raises(DiscoveryError) as refused:
        open_location(location)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError("x"), "s3://b: not found; check the path"),
        (
            PermissionError("Access Denied"),
            "s3://b: may not be read; check its permissions, or your credentials",
        ),
        (
            RuntimeError("no\nroute"),
            "s3://b: can't be read (no route); check the address, and for a remote place the "
            "credentials and the network",
        ),
    ],
)
def test_what_a_filesystem_raises_becomes_one_line(error: Exception, message: str) -> None:
    with pytest.raises(DiscoveryError) as refused, reaching("s3://b"):
        raise error
    assert str(refused.value) == message
    assert refused.value.__cause__ is error
