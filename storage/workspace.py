"""The workspace: one root URL that holds everything a project produced.

``audio/``, ``manifests/``, ``detectors/``, ``models/`` and ``reports/`` live below it, on any
fsspec filesystem. Files appear whole or not at all, and no path can lead outside the root.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import posixpath
import shlex
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from storage.addresses import filesystem_of
from storage.damage import DamagedError, damaged, told
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.printable import in_a_line
from storage.scratch import PREFIX

FORMAT = 2
"""Newest version of the workspace layout; a workspace of a newer one is refused. Since version 2 a
workspace says what music it holds. One of MUSDB18's sources, rate and channels is marked with
version 1 nevertheless, since those who know no other can work with it."""

WRITTEN = ("mtime", "LastModified", "updated", "last_modified", "created")
"""What the filesystems call the time at which a file was last written."""
STATES = ("ETag", "etag", "generation", "md5Hash", *WRITTEN)
"""What they tell of a file that differs once it is written anew, best first."""

DEFAULT_WORKSPACE = "workspace"
"""Where commands look that are told nothing else."""

MARKER = "workspace.json"
TEMPORARY = ".tmp"
SINGLE_PUT_BYTES = 64 * 2**20
"""Objects up to this size are stored with one PUT; larger ones as one multipart upload."""


class WorkspaceError(UserError):
    """A workspace that is missing, foreign, too new, or a path that would leave it."""


class Version(NamedTuple):
    """What tells a file from the one that is written in its place.

    Attributes:
        num_bytes: its size.
        stamp: its state as the store calls it; empty where it does not.
    """

    num_bytes: int
    stamp: str


class Listing:
    """The files of a folder that is not on a disk, in the order in which they were listed."""

    def __init__(self, versions: dict[str, Version]) -> None:
        self.versions = versions
        self._paths = list(versions)
        self._places = {path: place for place, path in enumerate(self._paths)}

    def after(self, path: str) -> Iterator[tuple[str, Version]]:
        """The files that follow one, but for those that changed since."""
        for place in range(self._places[path] + 1, len(self._paths)):
            if (version := self.versions.get(self._paths[place])) is not None:
                yield self._paths[place], version


class Workspace:
    """A root URL (folder, ``s3://…``, ``gs://…``, ``memory://…``) and safe access to what is in it.

    Args:
        url: the root.
        create: begin one where there is none.
        music: what it holds, if it is new; it must be what an existing one holds. Unless told, a
            new one holds the default and an existing one whatever it does.

    Attributes:
        music: what it holds.
        is_local: whether it is on this machine's disks.
        reads_anew: whether every reader asks the store, though there may be copies here.

    Raises:
        WorkspaceError: the URL names no workspace and ``create`` is false, names a folder that
            holds something else, a workspace written by a newer silentmix, or one that holds
            other music.
    """

    music: MusicFormat

    def __init__(self, url: str, *, create: bool = False, music: MusicFormat | None = None) -> None:
        self._locate(url)
        if self._found_new(create, music):
            version = FORMAT if self.music != MusicFormat() else 1
            try:
                self.put_json(MARKER, {"format": version, "music": self.music.to_json()})
            except OSError as error:
                raise WorkspaceError(
                    f"{self.location}: can't be written ({error.strerror or error}); choose "
                    "another --workspace"
                ) from error

    @classmethod
    def check(
        cls, url: str, *, create: bool = False, music: MusicFormat | None = None
    ) -> Workspace:
        """Raise what opening it would raise, without making anything; returns it to look into."""
        workspace = cls.__new__(cls)
        workspace._locate(url)
        workspace._found_new(create, music)
        return workspace

    def _locate(self, url: str) -> None:
        try:
            self.fs, root = filesystem_of(url)
        except UserError:
            raise
        except (ValueError, ImportError) as error:
            raise WorkspaceError(
                f"{url}: no place for a workspace ({error}); --workspace takes a folder or a URL "
                "such as s3://bucket/folder"
            ) from error
        self.root = root.rstrip("/")
        self.is_local = "file" in _protocols(self.fs)
        self.reads_anew = "memory" in _protocols(self.fs)
        self._listings: dict[str, Listing] = {}
        self.location: str = self.root if self.is_local else self.fs.unstrip_protocol(self.root)

    def command(self, words: str) -> str:
        """A command of silentmix about this workspace, as code that can be pasted."""
        usual = self.location == str(Path(DEFAULT_WORKSPACE).absolute())
        place = "" if usual else f" --workspace {shlex.quote(self.location)}"
        return f"`silentmix {words}{place}`"

    def __reduce__(self) -> tuple[Callable[[str], Workspace], tuple[str]]:
        return workspace_at, (self.location,)

    def __repr__(self) -> str:
        return f"Workspace({self.location!r})"

    def require_writable(self) -> None:
        """Refuse a folder that this user may not write in; of an object store, nobody knows.

        Raises:
            WorkspaceError: it is one.
        """
        for folder in (self.root, f"{self.root}/manifests") if self.is_local else ():
            if Path(folder).exists() and not os.access(folder, os.W_OK | os.X_OK):
                raise WorkspaceError(
                    f"{folder}: may not be written by this user; let it write there, or choose "
                    "another --workspace"
                )

    def _found_new(self, create: bool, music: MusicFormat | None) -> bool:
        """As :meth:`_is_new`, where the place itself may be out of reach."""
        try:
            return self._is_new(create, music)
        except UserError:
            raise
        except Exception as error:  # whatever a store's own client raises
            raise WorkspaceError(
                f"{self.location}: can't be reached ({in_a_line(error)}); check --workspace, "
                "and for a remote place the credentials and the network"
            ) from error

    def _is_new(self, create: bool, music: MusicFormat | None) -> bool:
        """Whether nothing is there yet; refuses what is there and is no workspace of ours."""
        if self.exists(MARKER):
            self.music = self._declared()
            if music is not None and music != self.music:
                raise WorkspaceError(
                    f"{self.location}: holds {self.music}, and can't hold {music} too; choose "
                    "another --workspace"
                )
            return False
        self.music = music or MusicFormat()
        if not create:
            raise WorkspaceError(
                f"{self.location}: no silentmix workspace here (no {MARKER}); check --workspace, "
                "or begin one with `silentmix run` or `silentmix ingest`"
            )
        if self.is_local and Path(self.root).is_file():
            raise WorkspaceError(f"{self.location}: is a file; --workspace wants a folder")
        if any(not _is_hidden(path) for path in self._listing()):
            if self.exists(MARKER):  # another command began it meanwhile
                return self._is_new(create, music)
            raise WorkspaceError(
                f"{self.location}: holds files but is no silentmix workspace (no {MARKER}); "
                "choose an empty or a new folder"
            )
        return True

    def _declared(self) -> MusicFormat:
        """What an existing workspace says that it holds; one from before 0.2 does not say it."""
        marker: object = None
        with suppress(DamagedError):
            marker = self.read_json(MARKER)
        version = marker.get("format") if isinstance(marker, dict) else None
        if not isinstance(marker, dict) or not isinstance(version, int):
            raise WorkspaceError(
                f"{self.location}: {MARKER} is not what silentmix writes; restore it, or "
                "choose another --workspace"
            )
        if version > FORMAT:
            raise WorkspaceError(
                f"{self.location}: workspace format {version} is newer than this silentmix knows "
                f"({FORMAT}); upgrade silentmix, or choose another --workspace"
            )
        if "music" not in marker and version == 1:
            return MusicFormat()
        try:
            return MusicFormat.from_json(marker.get("music"))
        except UserError as error:
            raise WorkspaceError(
                f"{self.location}: {MARKER} speaks of {error}; restore it"
            ) from error

    def _listing(self) -> list[str]:
        try:
            return list(self.fs.ls(self.root, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def resolve(self, relative: str) -> str:
        """The path of ``relative`` inside the filesystem; refuses one that leaves the workspace."""
        path = PurePosixPath(relative)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in relative:
            raise WorkspaceError(f"{relative!r}: not a path inside the workspace {self.location}")
        return f"{self.root}/{path}"

    def relative(self, path: str) -> str:
        """The inverse of :meth:`resolve`, for what a listing returned."""
        prefix = self.root.lstrip("/") + "/"
        return path.lstrip("/").removeprefix(prefix)

    def url(self, relative: str) -> str:
        """A path or URL of ``relative`` that other programs understand."""
        path = self.resolve(relative)
        return path if self.is_local else self.fs.unstrip_protocol(path)

    def exists(self, relative: str) -> bool:
        """Whether ``relative`` is there. Asks the store, not a cache of it."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.resolve(relative)))

    def require_file(self, relative: str) -> None:
        """Refuse what is there and is no file; to open a pipe would be to wait for ever.

        Raises:
            DamagedError: it is a folder, a pipe, a socket, a device or a link to itself.
        """
        if not self.is_local:
            return
        try:
            mode = Path(self.resolve(relative)).stat().st_mode
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise damaged(self.url(relative), "a link that leads to itself") from error
            return  # opening it tells what is wrong
        if not stat.S_ISREG(mode):
            raise damaged(self.url(relative), "no regular file")

    def read(self, relative: str) -> bytes:
        """The bytes of a small file.

        Raises:
            DamagedError: it is no regular file.
        """
        self.require_file(relative)
        return bytes(self.fs.cat_file(self.resolve(relative)))

    def read_json(self, relative: str) -> Any:
        """A JSON file's content.

        Raises:
            DamagedError: it is no JSON.
        """
        with told(self.url(relative)):
            return json.loads(self.read(relative))

    def find(self, relative: str) -> list[str]:
        """Sorted relative paths of every file below a folder, but for hidden ones."""
        found = self._found(relative)
        self._note(relative, found)
        return list(found)

    def sizes_and_times(self, relative: str) -> dict[str, tuple[int, datetime]]:
        """Of every file below a folder its bytes, and when it was last written."""
        found = self._found(relative)
        return {
            path: (info["size"], _as_time(self._written(self.resolve(path), info)))
            for path, info in found.items()
        }

    def find_newest_first(self, relative: str) -> list[str]:
        """As :meth:`find`, by when the files were last written; one listing tells it of all."""
        found = self._found(relative)
        written = {path: self._written(self.resolve(path), info) for path, info in found.items()}
        paths = sorted(found, key=lambda path: (written[path], path), reverse=True)
        self._note(relative, {path: found[path] for path in paths})
        return paths

    def _found(self, relative: str) -> dict[str, Mapping[str, Any]]:
        self.fs.invalidate_cache()
        details = self.fs.find(self.resolve(relative), detail=True)
        every = {self.relative(path): info for path, info in details.items()}
        return {path: every[path] for path in sorted(every) if not _is_hidden(path)}

    def _note(self, relative: str, found: Mapping[str, Mapping[str, Any]]) -> None:
        if not self.is_local:
            versions = {path: _version(info) for path, info in found.items()}
            self._listings[str(PurePosixPath(relative))] = Listing(versions)

    def version(self, relative: str) -> Version:
        """Which one a file is, as the last listing of its folder told, or else the store does.

        Raises:
            FileNotFoundError: it is not there.
        """
        listing = self._listed_with(relative)
        if listing is not None:
            return listing.versions[relative]
        self.fs.invalidate_cache()
        return _version(self.fs.info(self.resolve(relative)))

    def listed_after(self, relative: str) -> Iterator[tuple[str, Version]]:
        """The files that follow one in the last listing of its folder; none if that has not it."""
        listing = self._listed_with(relative)
        if listing is not None:
            yield from listing.after(relative)

    def _listed_with(self, relative: str) -> Listing | None:
        """The last listing of a folder around it, if it knows a file as it is now."""
        around = (self._listings.get(str(folder)) for folder in PurePosixPath(relative).parents)
        return next((found for found in around if found and relative in found.versions), None)

    def _has_changed(self, relative: str) -> None:
        for folder in PurePosixPath(relative).parents:
            if (listing := self._listings.get(str(folder))) is not None:
                listing.versions.pop(relative, None)

    def _written(self, path: str, info: Mapping[str, Any]) -> Any:
        known = (info[name] for name in WRITTEN if info.get(name) is not None)
        found = next(known, None)
        return self.fs.modified(path) if found is None else found

    def put(self, relative: str, write: Callable[[BinaryIO], object]) -> int:
        """Store what ``write`` writes to a seekable binary file; returns its size in bytes.

        The file appears whole or not at all and is durable when this returns: a synced temporary
        name and a rename on a local disk, one PUT on an object store.
        """
        target = self.resolve(relative)
        if self.is_local:
            return _put_local(Path(target), write)
        self._has_changed(relative)
        with tempfile.NamedTemporaryFile(prefix=PREFIX) as scratch:
            write(scratch)  # type: ignore[arg-type]
            scratch.flush()
            size = scratch.seek(0, os.SEEK_END)
            if size <= SINGLE_PUT_BYTES:
                scratch.seek(0)
                self.fs.pipe_file(target, scratch.read())
            else:
                self.fs.put_file(scratch.name, target)
        return size

    def put_bytes(self, relative: str, content: bytes) -> None:
        """Store bytes."""
        self.put(relative, lambda file: file.write(content))

    def put_json(self, relative: str, content: object) -> None:
        """Store a value as indented JSON with sorted keys."""
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        self.put_bytes(relative, text.encode() + b"\n")

    def remove(self, relative: str) -> None:
        """Remove a file, if it is there."""
        self._has_changed(relative)
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.resolve(relative))

    def sweep(self, relative: str) -> int:
        """Remove the temporary files below a folder that killed writers left; returns how many.

        Those of writers that live stay. An object store keeps none.
        """
        if not self.is_local:
            return 0
        found = Path(self.resolve(relative)).rglob(f".*{TEMPORARY}")
        return sum(remove_if_left(path) for path in found)

    def folders(self, relative: str) -> Iterator[str]:
        """Names of the folders right below ``relative``, sorted."""
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(self.resolve(relative), detail=True)
        except FileNotFoundError:
            return
        yield from sorted(
            PurePosixPath(entry["name"]).name for entry in entries if entry["type"] == "directory"
        )


@lru_cache(maxsize=16)
def _opened(location: str, process: int) -> Workspace:  # noqa: ARG001
    return Workspace(location)


def workspace_at(location: str) -> Workspace:
    """The workspace of a place, which each process opens once.

    Raises:
        WorkspaceError: there is none.
    """
    return _opened(location, os.getpid())  # connections to object stores do not survive a fork


def _version(info: Mapping[str, Any]) -> Version:
    known = (info[name] for name in STATES if info.get(name))
    return Version(int(info["size"] or 0), str(next(known, "")))


def _is_hidden(path: str) -> bool:
    return posixpath.basename(path).startswith(".")


def _as_time(written: Any) -> datetime:
    """What a filesystem calls a time: seconds since 1970, or a time, perhaps as text."""
    if isinstance(written, int | float):
        return datetime.fromtimestamp(written, UTC)
    found = datetime.fromisoformat(written) if isinstance(written, str) else written
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _put_local(target: Path, write: Callable[[BinaryIO], object]) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, file = _new_file(target.parent)
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
            temporary.replace(target)  # while it is locked, lest it be swept away
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size


def _new_file(folder: Path) -> tuple[Path, BinaryIO]:
    """A temporary file in a folder, locked for as long as it is open: its writer lives."""
    while True:
        path = folder / f".{uuid.uuid4().hex}{TEMPORARY}"
        file = path.open("w+b")
        with suppress(OSError):  # a file system without locks; nothing is swept there
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()  # it was swept away before it was locked


def remove_if_left(temporary: Path) -> bool:
    """Remove a temporary file whose writer is gone, and its lock with it."""
    try:
        with temporary.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def track_path(corpus: str, track_id: str) -> str:
    """Where a track's canonical audio lies, relative to the workspace."""
    # two levels of folders, since a corpus may hold a hundred thousand tracks
    return f"audio/{corpus}/{track_id[:2]}/{track_id}.wav"
