"""What lies where: folders of any fsspec filesystem, listed alike, with links followed."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from storage.addresses import REFUSED, filesystem_of, holds_secret, is_url
from storage.errors import UserError
from storage.printable import in_a_line, shown, valid_text

STAMPS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated", "created")
"""Where filesystems of fsspec say that a file was written anew, best first."""


class DiscoveryError(UserError):
    """A place that is missing, can't be reached or read, or holds nothing of use."""


class NotAllowed(DiscoveryError):  # noqa: N818 - reads as what it says
    """A place that may not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Something in a folder; a link counts as what it leads to.

    Attributes:
        path: path inside its filesystem.
        is_file: a regular file.
        is_folder: a folder. What is neither can't be read as either: a dangling link, a pipe.
        is_link: its name is a link.
        identity: equal for two names of one thing; None where the filesystem has no links.
        num_bytes: size of a file.
        stamp: differs when the file is written anew: its time, or what an object store calls its
            ETag; empty where the filesystem knows neither.
    """

    path: str
    is_file: bool = False
    is_folder: bool = False
    is_link: bool = False
    identity: tuple[int, int] | None = None
    num_bytes: int = 0
    stamp: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)

    @property
    def extension(self) -> str:
        """The name's extension in lower case, without the dot."""
        return posixpath.splitext(self.name)[1][1:].lower()


def is_local(fs: Any) -> bool:
    """Whether a filesystem is this machine's."""
    return isinstance(fs, LocalFileSystem)


def open_location(location: str) -> tuple[Any, str]:
    """The fsspec filesystem of a local path or URL, and the path inside it.

    Raises:
        DiscoveryError: the text names no place, or a kind of place that nothing installed reaches,
            or holds a secret, which is not told.
    """
    if holds_secret(location):
        raise DiscoveryError(REFUSED)
    if not location.strip() or "\0" in location:
        raise DiscoveryError(f"{location!r}: no path; name a file, a folder or a URL")
    fs: Any = LocalFileSystem()
    with reaching(location):
        if is_url(location):
            fs, path = filesystem_of(location)
            fs.invalidate_cache()
        else:
            path = os.fspath(Path(location).expanduser().absolute())
    if is_local(fs):
        return fs, "/" + posixpath.normpath(path).lstrip("/")
    return fs, path.rstrip("/") or "/"


@contextmanager
def reaching(location: str) -> Iterator[None]:
    """Turn whatever a filesystem raises into one line that names the location.

    Raises:
        NotAllowed: from a PermissionError.
        DiscoveryError: from anything else that does not say by itself what is wrong.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise DiscoveryError(f"{shown(location)}: not found; check the path") from error
    except PermissionError as error:
        raise NotAllowed(
            f"{shown(location)}: may not be read; check its permissions, or your credentials"
        ) from error
    except Exception as error:
        reason = shown(in_a_line(error))
        raise DiscoveryError(
            f"{shown(location)}: can't be read ({reason}); check the address, and for a remote "
            "place the credentials and the network"
        ) from error


def look_up(fs: Any, path: str) -> Entry | None:
    """What is at ``path``, or None if nothing is.

    Raises:
        NotAllowed: that may not be known.
        DiscoveryError: the filesystem fails.
    """
    with reaching(url_of(fs, path)):
        try:
            return _local(path, Path(path).stat()) if is_local(fs) else remote_entry(fs.info(path))
        except OSError as error:
            nothing = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
            if isinstance(error, FileNotFoundError) or error.errno in nothing:
                return None
            raise


def list_folder(fs: Any, folder: str) -> list[Entry]:
    """What is in a folder, hidden things and links too, sorted by path.

    Raises:
        NotAllowed: it may not be read.
        DiscoveryError: it can't be read.
    """
    with reaching(url_of(fs, folder)):
        if is_local(fs):
            with os.scandir(folder) as found:
                entries = [_scanned(item) for item in found]
        else:
            listed = (remote_entry(info) for info in fs.ls(folder, detail=True))
            entries = [entry for entry in listed if entry.path != folder]
    return sorted(entries, key=lambda entry: entry.path)


def walk(fs: Any, root: str, enter: Callable[[str], bool] = lambda _: True) -> Iterator[Entry]:
    """Everything below a folder but folders and hidden things, in no particular order.

    Links are followed after all that has a name of its own, in the order of their paths, and never
    to what was met before: each folder is entered once and loops end. A folder that may not be
    read comes as an entry itself.

    Args:
        fs: the filesystem.
        root: the folder to begin with.
        enter: whether to enter a folder, by its path.

    Raises:
        NotAllowed: ``root`` may not be read.
        DiscoveryError: something can't be read for another reason.
    """
    waiting = [look_up(fs, root) or Entry(path=root, is_folder=True)]
    links: list[Entry] = []
    seen: set[tuple[int, int]] = set()
    followed = False
    while waiting or links:
        if waiting:
            entry = waiting.pop()
            if entry.is_link:
                links.append(entry)
                continue
        else:
            followed = True
            links.sort(key=lambda link: link.path, reverse=True)
            entry = links.pop()
        if entry.identity is not None:
            if entry.identity in seen and (followed or entry.is_folder):
                continue
            seen.add(entry.identity)
        if not entry.is_folder:
            yield entry
        elif entry.path == root or enter(entry.path):
            try:
                children = list_folder(fs, entry.path)
            except NotAllowed:
                if entry.path == root:
                    raise
                yield entry
            else:
                waiting += (child for child in children if not child.name.startswith("."))


def _local(path: str, found: os.stat_result, *, is_link: bool = False) -> Entry:
    return Entry(
        path=path,
        is_file=stat.S_ISREG(found.st_mode),
        is_folder=stat.S_ISDIR(found.st_mode),
        is_link=is_link,
        identity=(found.st_dev, found.st_ino),
        num_bytes=found.st_size,
        # rights leave the time alone, and a file that may be read now is another to who could not
        stamp=f"{found.st_mtime_ns}{'' if os.access(path, os.R_OK) else ' unreadable'}",
    )


def _scanned(item: os.DirEntry[str]) -> Entry:
    try:
        return _local(item.path, item.stat(), is_link=item.is_symlink())
    except OSError:
        return Entry(path=item.path, is_link=True)


def remote_entry(info: dict[str, Any]) -> Entry:
    """What a filesystem of fsspec says of a path."""
    name = str(info["name"])
    return Entry(
        path=name.rstrip("/") or "/",
        is_file=info["type"] == "file" and not name.endswith("/"),
        is_folder=info["type"] == "directory",
        num_bytes=int(info.get("size") or 0),
        stamp=next((str(info[name]) for name in STAMPS if info.get(name)), ""),
    )


def url_of(fs: Any, path: str) -> str:
    """The absolute path or URL of a path in a filesystem, as valid Unicode."""
    return valid_text(path if is_local(fs) else fs.unstrip_protocol(path))
