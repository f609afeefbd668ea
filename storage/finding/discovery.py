"""Find music: a folder, a glob, a list of files, one file, or an fsspec URL of any of these.

Names are taken literally where they exist: a folder called ``[live]`` is a folder, not a pattern.
Hidden files and folders are skipped, and so are recycle bins and their like, and what silentmix
wrote (:mod:`storage.finding.sieve`). Links are followed, but no folder is entered twice.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from storage.finding.listing import (
    DiscoveryError,
    Entry,
    NotAllowed,
    is_local,
    look_up,
    open_location,
    reaching,
    remote_entry,
    url_of,
    walk,
)
from storage.finding.lists import Places, list_entries
from storage.finding.sieve import MUSIC_EXTENSIONS, Sieve, told, workspace_around
from storage.printable import shown

__all__ = ["MISSING", "MUSIC_EXTENSIONS", "DiscoveryError", "SourceFile", "find_audio"]

LIST_EXTENSIONS = frozenset(("txt", "m3u", "m3u8"))
"""Extensions of text files that list music, one path or URL a line."""

MISSING = -1
"""``num_bytes`` of what was named but can't be read."""

LOOK_UP_THREADS = 16
"""Concurrent requests for the sizes of a list's entries."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    r"""A file to ingest.

    Attributes:
        url: absolute path or URL, to store and to show; always valid Unicode (bytes of a name that
            are none are written ``\xNN``).
        path: what to open in the filesystem that came with it.
        num_bytes: size, or :data:`MISSING` for what was named but isn't there or can't be read: an
            entry of a list, a dangling link, a pipe, a folder that may not be entered.
        stamp: differs when the file is written anew, as in :class:`storage.finding.listing.Entry`.
    """

    url: str
    path: str
    num_bytes: int
    stamp: str = field(default="", compare=False)


def find_audio(
    source: str, passed_over: Counter[str] | None = None
) -> tuple[Any, list[SourceFile]]:
    """Find the music that ``source`` names.

    Args:
        source: a folder (searched through), a glob (``**`` for any depth; a folder that matches is
            searched through), a ``.txt``, ``.m3u`` or ``.m3u8`` list (one path or URL a line,
            relative ones from the list's folder, ``#`` begins a comment; an entry is taken
            whatever its extension), one music file, or an fsspec URL of any of these.
        passed_over: is added to: what in folders was not taken, by kind.

    Returns:
        The fsspec filesystem, and the files sorted by path, each once.

    Raises:
        DiscoveryError: nothing is there, nothing there is music, all of it is silentmix's own, or
            the place can't be reached.
    """
    fs, path = open_location(source)
    entry = look_up(fs, path)
    sieve = Sieve(fs, Counter() if passed_over is None else passed_over)
    if entry is None:
        if not _is_pattern(path):
            raise DiscoveryError(f"{shown(source)}: no such file or folder; check the path")
        return fs, _music(sieve, _matching(fs, path, source, sieve), source)
    is_list = entry.is_file and entry.extension in LIST_EXTENSIONS
    if not is_list and (ours := workspace_around(fs, path)) is not None:
        raise DiscoveryError(
            f"{shown(source)}: is in the silentmix workspace {shown(url_of(fs, ours))}, whose "
            "audio was ingested before; name the music that it was made of"
        )
    if entry.is_folder:
        found = walk(fs, path, sieve.enter) if is_local(fs) else sieve.flat(path, _flat(fs, path))
        return fs, _music(sieve, found, source)
    if is_list:
        return _listed(fs, path, source)
    if entry.is_file and entry.extension in MUSIC_EXTENSIONS:
        return fs, [_source_file(fs, entry)]
    raise DiscoveryError(
        f"{shown(source)}: neither music nor a list of music by its extension; name a folder, a "
        f"glob, a list ({_extensions(LIST_EXTENSIONS)}) or music ({_extensions(MUSIC_EXTENSIONS)})"
    )


def _music(sieve: Sieve, entries: Iterable[Entry], source: str) -> list[SourceFile]:
    """The music among what was found; folders among it are those that may not be read."""
    before = sieve.passed_over.copy()
    music = list(sieve.music(entries))
    if not any(entry.is_file for entry in music):
        found = [told(others)] if (others := sieve.passed_over - before) else []
        if unreadable := sum(entry.is_folder for entry in music):
            found.append(f"{unreadable} unreadable folder{'s' * (unreadable != 1)}")
        raise DiscoveryError(
            f"{shown(source)}: no music here ({', '.join(found) or 'no files'}); "
            f"music is known by its extension: {_extensions(MUSIC_EXTENSIONS)}"
        )
    return _sorted(sieve.fs, music)


def _sorted(fs: Any, entries: Iterable[Entry]) -> list[SourceFile]:
    by_path = {entry.path: entry for entry in entries}
    return [_source_file(fs, by_path[path]) for path in sorted(by_path)]


def _source_file(fs: Any, entry: Entry) -> SourceFile:
    num_bytes = entry.num_bytes if entry.is_file else MISSING
    return SourceFile(url_of(fs, entry.path), entry.path, num_bytes, entry.stamp)


def _extensions(extensions: frozenset[str]) -> str:
    return ", ".join(sorted(extensions))


def _flat(fs: Any, folder: str) -> Iterator[Entry]:
    """Everything below a folder of an object store: one request a thousand files, not a folder."""
    prefix = folder.rstrip("/") + "/"
    with reaching(url_of(fs, folder)):
        found = fs.find(folder, detail=True)
    for name, info in found.items():
        hidden = any(part.startswith(".") for part in name.removeprefix(prefix).split("/"))
        if info["type"] == "file" and not hidden and not name.endswith("/"):
            yield remote_entry(info)


def _matching(fs: Any, path: str, source: str, sieve: Sieve) -> Iterator[Entry]:
    """What a glob matches, and everything in the folders it matches."""
    parts = path.split("/")
    depths = (
        depth
        for depth, part in enumerate(parts)
        if _is_pattern(part) and look_up(fs, "/".join(parts[: depth + 1])) is None
    )
    depth = next(depths, len(parts) - 1)
    base, pattern = "/".join(parts[:depth]) or "/", tuple(parts[depth:])
    prefix = base.rstrip("/") + "/"
    root = look_up(fs, base)
    if root is None or not root.is_folder:
        raise DiscoveryError(
            f"{shown(source)}: no folder {shown(url_of(fs, base))}; check the path"
        )

    def below(name: str) -> tuple[str, ...]:
        return tuple(name.removeprefix(prefix).split("/"))

    num_matches = 0
    if workspace_around(fs, base) is not None:
        return

    def enter(name: str) -> bool:
        return _may_lead_to_match(pattern, below(name)) and sieve.enter(name)

    for entry in walk(fs, base, enter):
        relative = below(entry.path)
        if any(_matches(pattern, relative[:end]) for end in range(1, len(relative) + 1)):
            num_matches += 1
            yield entry
    if not num_matches:
        raise DiscoveryError(f"{shown(source)}: the pattern matches no file; check it")


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _matches(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether a whole relative path matches a glob.

    ``**`` stands for any number of folders, and at the end for everything below, as in a shell.
    """
    if not pattern:
        return not parts
    if pattern == ("**",):
        return bool(parts)
    if pattern[0] == "**":
        return _matches(pattern[1:], parts) or (bool(parts) and _matches(pattern, parts[1:]))
    return (
        bool(parts)
        and fnmatch.fnmatchcase(parts[0], pattern[0])
        and _matches(pattern[1:], parts[1:])
    )


def _may_lead_to_match(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether a folder can hold a match or is in one, so that it is worth entering."""
    for wanted, part in zip(pattern, parts, strict=False):
        if wanted == "**":
            return True
        if not fnmatch.fnmatchcase(part, wanted):
            return False
    return True


def _listed(fs: Any, path: str, source: str) -> tuple[Any, list[SourceFile]]:
    """The entries of a text list, there or not, and the one filesystem they are in."""
    with reaching(source):
        content = fs.cat_file(path)
    names = list_entries(content)
    if not names:
        raise DiscoveryError(f"{shown(source)}: the list is empty; write one path or URL a line")
    where = Places(fs, posixpath.dirname(path))
    try:
        if is_local(fs):
            places = [where.of(name) for name in names]
        else:
            with ThreadPoolExecutor(LOOK_UP_THREADS) as pool:
                places = list(pool.map(where.of, names))
    except DiscoveryError as error:
        raise DiscoveryError(f"{shown(source)}: in this list: {error}") from error
    filesystems = {type(place_fs) for place_fs, _ in places}
    if len(filesystems) > 1:
        raise DiscoveryError(
            f"{shown(source)}: the list mixes filesystems; make one list of each: "
            + ", ".join(sorted(shown(name) for name in _one_of_each(places, names)))
        )
    entries_fs = places[0][0]
    paths = sorted({place for _, place in places})
    if is_local(entries_fs):
        found = [_listed_entry(entries_fs, name) for name in paths]
    else:
        with ThreadPoolExecutor(LOOK_UP_THREADS) as pool:
            found = list(pool.map(lambda name: _listed_entry(entries_fs, name), paths))
    return entries_fs, _sorted(entries_fs, found)


def _one_of_each(places: list[tuple[Any, str]], names: list[str]) -> list[str]:
    examples = {type(fs): name for (fs, _), name in zip(places, names, strict=True)}
    return list(examples.values())


def _listed_entry(fs: Any, path: str) -> Entry:
    try:
        return look_up(fs, path) or Entry(path=path)
    except NotAllowed:
        return Entry(path=path)
