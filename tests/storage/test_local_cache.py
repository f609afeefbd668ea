"""What is slow to get is got once, kept within a limit, and got again where it is gone."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path

import pytest

from storage.errors import UserError
from storage.local_cache import UNFINISHED, UNFINISHED_S, LocalCache


class Content:
    """Writes what it is told to, and counts how often."""

    def __init__(self, content: bytes) -> None:
        self.content, self.made = content, 0

    def __call__(self, file: BufferedRandom) -> None:
        self.made += 1
        file.write(self.content)


def sizes(folder: Path) -> list[int]:
    return sorted(path.stat().st_size for path in folder.iterdir())


def read(cache: LocalCache, key: str, make: Callable[[BufferedRandom], object]) -> bytes:
    with cache.open(key, make) as file:
        return file.read()


def test_an_entry_is_made_once_and_again_when_the_folder_is_gone(tmp_path: Path) -> None:
    content = Content(b"abc")
    cache = LocalCache(tmp_path / "new", 1000)
    assert read(cache, "a", content) == b"abc"
    assert read(pickle.loads(pickle.dumps(cache)), "a", content) == b"abc"
    assert content.made == 1
    opened = cache.open("a", content)
    shutil.rmtree(tmp_path / "new")
    assert read(cache, "a", content) == b"abc"
    assert content.made == 2
    assert opened.read() == b"abc"  # what is removed stays readable to who reads it
    opened.close()
    assert read(cache, "b", Content(b"other")) == b"other"


def test_what_was_not_read_for_longest_goes_first(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 350)
    for age in range(3):
        cache.open(str(age), Content(bytes(100))).close()
        [path] = {path for path in tmp_path.iterdir() if path.stat().st_mtime > 2000}
        os.utime(path, (1000 + age, 1000 + age))
    cache.open("0", Content(b"")).close()  # the oldest, but now read
    cache.open("new", Content(bytes(101))).close()
    assert sizes(tmp_path) == [100, 100, 101]
    content = Content(bytes(100))
    cache.open("0", content).close()
    assert content.made == 0
    cache.open("1", content).close()
    assert content.made == 1


def test_a_maker_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(file: BufferedRandom) -> None:
        file.write(b"half")
        raise FileNotFoundError(2, "no such file", "audio/a.wav")

    cache = LocalCache(tmp_path, 1000)
    with pytest.raises(FileNotFoundError, match=r"audio/a\.wav"):
        cache.open("a", fail)
    assert sizes(tmp_path) == []
    assert read(cache, "a", Content(b"whole")) == b"whole"


@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENOSPC, UserError), (errno.ECONNRESET, ConnectionResetError)]
)
def test_a_full_disk_is_told_from_a_store_that_fails(
    tmp_path: Path, number: int, told: type[Exception]
) -> None:
    def fail(_: BufferedRandom) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(told, match=os.strerror(number)):
        LocalCache(tmp_path, 1000).open("a", fail)
    assert sizes(tmp_path) == []


def test_what_killed_writers_left_is_removed_and_what_others_write_is_not(tmp_path: Path) -> None:
    left, written = (tmp_path / f"{UNFINISHED}{name}" for name in ("left", "written"))
    left.write_bytes(b"1")
    written.write_bytes(b"2")
    os.utime(left, (0, left.stat().st_mtime - UNFINISHED_S - 60))
    LocalCache(tmp_path, 1000).open("a", Content(b"")).close()
    assert not left.exists()
    assert written.exists()


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"file/cache: can't keep local copies .*XDG_CACHE_HOME"):
        LocalCache(tmp_path / "file/cache", 1000).open("a", Content(b""))


def _use(folder: Path) -> int:
    """Read ten entries of a folder that holds five; returns how many were wrong."""
    cache = LocalCache(folder, 500)
    return sum(
        read(cache, str(turn % 10), Content(bytes([turn % 10]) * 100)) != bytes([turn % 10]) * 100
        for turn in range(400)
    )


def test_processes_share_a_folder(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_use, [tmp_path] * 2) == [0, 0]
    assert sum(sizes(tmp_path)) <= 500 + 2 * 500 // 32 + 100
