"""The workspace: one root URL that holds everything a project produced.

``audio/``, ``manifests/``, ``detectors/``, ``models/`` and ``reports/`` live below it, on any
fsspec filesystem. Files appear whole or not at all, and no path can lead outside the root.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

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

DEFAULT_WORKSPACE = "workspace"
"""Where commands look that are told nothing else."""

MARKER = "workspace.json"
TEMPORARY = ".tmp"
SINGLE_PUT_BYTES = 64 * 2**20
"""Objects up to this size are stored with one PUT; larger ones as one multipart upload."""


class WorkspaceError(UserError):
    """A workspace that is missing, foreign, too new, or a path that would leave it."""


class Workspace:
    """A root URL (folder, ``s3://…``, ``gs://…``, ``memory://…``) and safe access to what is in it.

    Args:
        url: the root.
        create: begin one where there is none.
        music: what it holds, if it is new; it must be what an existing one holds. Unless told, a
            new one holds the default and an existing one whatever it does.

    Attributes:
        music: what it holds.

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
        self.location: str = self.root if self.is_local else self.fs.unstrip_protocol(self.root)

    def command(self, words: str) -> str:
        """A command of silentmix about this workspace, as code that can be pasted."""
        usual = self.location == str(Path(DEFAULT_WORKSPACE).absolute())
        place = "" if usual else f" --workspace {shlex.quote(self.location)}"
        return f"`silentmix {words}{place}`"

    def __reduce__(self) -> tuple[type[Workspace], tuple[str]]:
        return Workspace, (self.location,)

    def __repr__(self) -> str:
        return f"Workspace({self.location!r})"

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
        if any(not PurePosixPath(path).name.startswith(".") for path in self._listing()):
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
        self.fs.invalidate_cache()
        found = (self.relative(path) for path in self.fs.find(self.resolve(relative)))
        return sorted(path for path in found if not PurePosixPath(path).name.startswith("."))

    def find_newest_first(self, relative: str) -> list[str]:
        """As :meth:`find`, by when the files were last written; one listing tells it of all."""
        self.fs.invalidate_cache()
        details = self.fs.find(self.resolve(relative), detail=True)
        written = {self.relative(path): self._written(path, info) for path, info in details.items()}
        files = (path for path in written if not PurePosixPath(path).name.startswith("."))
        return sorted(files, key=lambda path: (written[path], path), reverse=True)

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
