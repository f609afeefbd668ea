"""Copies on this machine's disk of what is slow to get: bounded, and shared by all processes."""

from __future__ import annotations

import errno
import getpass
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BufferedRandom, BufferedReader
from pathlib import Path

from storage.errors import UserError
from storage.fingerprint import short_hash

Entry = BufferedReader | BufferedRandom
"""An entry that is open for reading."""

UNFINISHED = ".unfinished-"
UNFINISHED_S = 3600.0
"""How old a file must be that its writer must have left behind."""
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))
"""What a disk answers that takes no more; all else may be of where an entry is fetched from."""
SLACK = 1 / 32
"""Share of the limit that a process adds before it looks what all have added."""


def cache_folder(name: str) -> Path:
    """A folder of this user's that lasts, or else one that does until the machine is restarted.

    Raises:
        PermissionError: another user made the folder that would be taken.
    """
    lasting = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = lasting / "silentmix" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"silentmix-{getpass.getuser()}-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise PermissionError(
                f"{folder}: belongs to another user; set XDG_CACHE_HOME"
            ) from None
    return folder


class LocalCache:
    """Files by name, of which those are removed that were not read for longest.

    Processes share a folder without locks: an entry appears whole, under its name, and one that is
    removed while it is read stays readable to its reader. Together they may exceed the limit by a
    32nd of it each, for a while. May be emptied at any time; what is missing is made anew.

    Args:
        folder: where; this user's alone.
        limit_bytes: how much.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._added_bytes = limit_bytes  # so that the first addition looks

    def open(self, key: str, make: Callable[[BufferedRandom], object]) -> Entry:
        """Open an entry for reading; where it is not there, ``make`` writes it first.

        Args:
            key: names the entry and all that its content depends on.
            make: writes the content; whatever it raises leaves no entry.

        Raises:
            UserError: the folder can't be written, with the way out.
        """
        found = self.find(key)
        return self._make(self._path(key), make) if found is None else found

    def find(self, key: str) -> Entry | None:
        """Open an entry for reading; None where it is not there."""
        try:
            file = self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return None
        with suppress(OSError):
            os.utime(file.fileno())  # when it was last read
        return file

    def has(self, key: str) -> bool:
        """Whether an entry is there."""
        return self._path(key).exists()

    def remove(self, key: str) -> None:
        """Remove an entry, if it is there."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / short_hash(key, 32)

    def _make(self, path: Path, make: Callable[[BufferedRandom], object]) -> Entry:
        temporary = Path(f"{path.parent}/{UNFINISHED}{os.getpid()}-{os.urandom(8).hex()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = temporary.open("x+b")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            make(file)
            size = file.tell()
            file.flush()
            file.seek(0)
            temporary.replace(path)
        except BaseException as error:
            file.close()
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise self._unwritable(error) from error
            raise
        self._added_bytes += size
        if self._added_bytes > self.limit_bytes * SLACK:
            self._added_bytes = 0
            self._evict()
        return file

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.folder}: can't keep local copies ({error.strerror or error}); make room, lower "
            "--cache-gb or SILENTMIX_CACHE_GB, or set XDG_CACHE_HOME to a folder that has room"
        )

    def _evict(self) -> None:
        """Remove what was not read for longest, down to the limit; and what killed writers left."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for written, size, path in entries:
            unfinished = path.name.startswith(UNFINISHED)
            if unfinished and time.time() - written < UNFINISHED_S:
                continue
            if unfinished or total > self.limit_bytes:
                path.unlink(missing_ok=True)
                total -= size

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                stat = path.stat()
                yield stat.st_mtime, stat.st_size, path
