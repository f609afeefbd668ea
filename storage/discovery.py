"""Find music: a folder, a glob, a list of files, one file, or an fsspec URL of any of these.

Names are taken literally where they exist: a folder called ``[live]`` is a folder, not a pattern.
Hidden files and folders are skipped. Links are followed, but no folder is entered twice, so loops
of links end.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from storage.listing import (
    Entry,
    ListingError,
    extension,
    is_local,
    list_folder,
    look_up,
    open_location,
    reaching,
    shown,
    valid_text,
)

MUSIC_EXTENSIONS = frozenset(
    "wav wave bwf w64 rf64 flac ogg oga opus mp3 mp2 m4a m4b mp4 aac alac caf aif aiff aifc au snd "
    "wma asf mka mkv webm ac3 ape wv tta".split()
)
"""Extensions, in lower case and without a dot, of files that are taken for music."""

LIST_EXTENSIONS = frozenset(("txt", "m3u", "m3u8"))
"""Extensions of text files that list music, one path or URL a line."""

MISSING = -1
"""``num_bytes`` of something that was named but can't be read."""

LOOK_UP_THREADS = 16
"""Concurrent requests for the sizes of a list's entries in an object store."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")

DiscoveryError = ListingError


@dataclass(frozen=True)
class SourceFile:
    """A file to ingest.

    Attributes:
        url: absolute path or URL, to show and to store; always valid Unicode (bytes of a name that
            are none are written ``\\xNN``).
        path: the path to open in the filesystem that came with it.
        num_bytes: size; :data:`MISSING` for what was named but isn't there or can't be read: an
            entry of a list, a dangling link, or a folder that may not be entered.
    """

    url: str
    path: str
    num_bytes: int


def find_audio(source: str) -> tuple[Any, list[SourceFile]]:
    """Find the music that ``source`` names.

    Args:
        source: a folder (searched through), a glob (``**`` for any depth; a folder that matches is
            searched through), a ``.txt``, ``.m3u`` or ``.m3u8`` list (one path or URL a line,
            relative ones from the list's folder, ``#`` begins a comment; an entry is taken
            whatever its extension), one music file, or an fsspec URL of any of these.

    Returns:
        The fsspec filesystem, and the files sorted by path, each once.

    Raises:
        DiscoveryError: nothing there, nothing that is music, or a place that can't be reached.
    """
    fs, path = open_location(source)
    with reaching(source):
        entry = look_up(fs, path)
        if entry is not None and entry.is_folder:
            return fs, _folder_files(fs, path, source)
        if entry is not None and extension(path) in LIST_EXTENSIONS:
            return _listed_files(fs, path, source)
        if entry is not None:
            if extension(path) not in MUSIC_EXTENSIONS or not entry.is_file:
                raise DiscoveryError(
                    f"{shown(source)}: neither music nor a list of music by its extension; name a "
                    f"folder, a glob, a .txt or .m3u list, or one of {_extensions()}"
                )
            return fs, [_source_file(fs, entry)]
        if _is_pattern(path):
            return fs, _matching_files(fs, path, source)
    raise DiscoveryError(f"{shown(source)}: no such file or folder; check the path")


def _folder_files(fs: Any, folder: str, source: str) -> list[SourceFile]:
    entries = list(walk(fs, folder) if is_local(fs) else _flat(fs, folder))
    return _music(fs, entries, source, "name a folder with music")


def _flat(fs: Any, folder: str) -> Iterator[Entry]:
    """Everything below a folder of an object store: one request a thousand files, not a folder."""
    prefix = folder.rstrip("/") + "/"
    for name, info in fs.find(folder, detail=True).items():
        hidden = any(part.startswith(".") for part in name.removeprefix(prefix).split("/"))
        if info["type"] == "file" and not hidden and not name.endswith("/"):
            yield Entry(name, is_file=True, num_bytes=int(info.get("size") or 0))


def _matching_files(fs: Any, path: str, source: str) -> list[SourceFile]:
    """The files that match a glob, or lie in a folder that does."""
    parts = path.split("/")
    first = next(i for i, part in enumerate(parts) if _is_pattern(part))
    while first + 1 < len(parts) and look_up(fs, "/".join(parts[: first + 1])) is not None:
        rest = (i for i in range(first + 1, len(parts)) if _is_pattern(parts[i]))
        first = next(rest, len(parts) - 1)
    base, pattern = "/".join(parts[:first]) or "/", tuple(parts[first:])
    root = look_up(fs, base)
    if root is None or not root.is_folder:
        raise DiscoveryError(f"{shown(source)}: no such folder: {shown(base)}; check the path")
    prefix = base.rstrip("/") + "/"

    def enter(name: str) -> bool:
        return _may_lead_to_match(pattern, tuple(name.removeprefix(prefix).split("/")))

    def matches(name: str) -> bool:
        below = tuple(name.removeprefix(prefix).split("/"))
        return any(_matches(pattern, below[:depth]) for depth in range(1, len(below) + 1))

    entries = [entry for entry in walk(fs, base, enter) if matches(entry.path)]
    if not entries:
        raise DiscoveryError(f"{shown(source)}: matches nothing; check the pattern")
    return _music(fs, entries, source, "change the pattern")


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _matches(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether all of a relative path matches a glob; ``**`` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _matches(pattern[1:], parts) or (bool(parts) and _matches(pattern, parts[1:]))
    if not parts or not fnmatch.fnmatchcase(parts[0], pattern[0]):
        return False
    return _matches(pattern[1:], parts[1:])


def _may_lead_to_match(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether something in the folder ``parts`` can match, so that it is worth entering."""
    for wanted, part in zip(pattern, parts, strict=False):
        if wanted == "**":
            return True
        if not fnmatch.fnmatchcase(part, wanted):
            return False
    return True


def walk(fs: Any, root: str, enter: Callable[[str], bool] = lambda _: True) -> Iterator[Entry]:
    """Every file below ``root`` that isn't hidden; each folder and each linked file once.

    What lies there under its own name comes before what a link leads to. A folder that may not be
    read, and a dangling link, come as an entry that is neither file nor folder.

    Args:
        fs: the filesystem.
        root: folder to begin with.
        enter: whether to enter a folder, by its path.
    """
    seen: set[object] = set()
    here, links = [Entry(root, is_folder=True)], list[Entry]()
    while here or links:
        from_link = not here
        entry = (here or links).pop()
        if from_link:
            links.sort(key=lambda link: link.path, reverse=True)
        if entry.is_link and not from_link:
            links.append(entry)
            continue
        if entry.identity is not None:
            if entry.identity in seen:
                continue
            seen.add(entry.identity)
        if not entry.is_folder:
            yield entry
        elif entry.path == root or enter(entry.path):
            try:
                children = list_folder(fs, entry.path)
            except PermissionError:
                if entry.path == root:
                    raise
                yield Entry(entry.path)
            else:
                here.extend(child for child in children if not child.name.startswith("."))
