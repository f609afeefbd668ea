"""What lies where: folders of any fsspec filesystem, listed alike, with links followed."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")


class ListingError(ValueError):
    """A place that is missing, or that can't be reached or read."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something in a folder; a link counts as what it leads to.

    Attributes:
        path: path inside its filesystem.
        is_file: a regular file.
        is_folder: a folder. What is neither is a dangling link, or can't be read.
        is_link: reached by a link.
        identity: equal for two names of one thing; None where the filesystem has no links.
        num_bytes: size of a file.
    """

    path: str
    is_file: bool = False
    is_folder: bool = False
    is_link: bool = False
    identity: tuple[int, int] | None = None
    num_bytes: int = 0

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name


def is_url(location: str) -> bool:
    """Whether a location is an fsspec URL; anything else is a local path."""
    return _URL.match(location) is not None


def open_location(location: str) -> tuple[Any, str]:
    """The fsspec filesystem of a local path or URL, and the path inside it.

    Raises:
        ListingError: the text names no place, or a kind of place that nothing installed can reach.
    """
    if not location.strip() or "\0" in location:
        raise ListingError(f"{shown(location)!r}: no path; name a file, a folder or a URL")
    if not is_url(location):
        path = Path(location)
        if path.parts[0].startswith("~") and not path.exists():
            with reaching(location):
                path = path.expanduser()
        return LocalFileSystem(), posixpath.normpath(path.absolute())
    with reaching(location):
        fs, path_inside = url_to_fs(location)
        fs.invalidate_cache()
        return fs, path_inside.rstrip("/") or "/"
    raise AssertionError("unreachable")


def is_local(fs: Any) -> bool:
    """Whether a filesystem is this machine's."""
    return isinstance(fs, LocalFileSystem)


@contextmanager
def reaching(location: str) -> Iterator[None]:
    """Turn what a filesystem raises into one line that names the location.

    Raises:
        ListingError: whatever the filesystem raised.
    """
    try:
        yield
    except ListingError:
        raise
    except FileNotFoundError as error:
        raise ListingError(f"{shown(location)}: no such file or folder; check the path") from error
    except PermissionError as error:
        raise ListingError(
            f"{shown(location)}: may not be read; check its permissions or your credentials"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ListingError(
            f"{shown(location)}: can't be read: {reason}; check the address, the credentials and "
            "the network"
        ) from error


def look_up(fs: Any, path: str) -> Entry | None:
    """What is at ``path``, or None if nothing is."""
    if is_local(fs):
        try:
            return _local_entry(path, is_link=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (_ELOOP, _ENAMETOOLONG):
                return None
            raise
    try:
        return _remote_entry(fs.info(path))
    except FileNotFoundError:
        return None


def list_folder(fs: Any, folder: str) -> list[Entry]:
    """What is in a folder, hidden things and links too, sorted by path.

    Raises:
        OSError: it can't be read.
    """
    if not is_local(fs):
        entries = [_remote_entry(info) for info in fs.ls(folder, detail=True)]
        return sorted(
            (entry for entry in entries if entry.path != folder), key=lambda entry: entry.path
        )
    entries = []
    with os.scandir(folder) as found:
        for item in found:
            try:
                entry = _local_entry(item.path, is_link=item.is_symlink())
            except OSError:
                entry = Entry(path=item.path)
            entries.append(entry)
    return sorted(entries, key=lambda entry: entry.path)
