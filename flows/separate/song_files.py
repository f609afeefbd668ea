"""The files that ``silentmix separate`` is to separate, and where each one's stems go."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from storage.errors import UserError
from storage.finding.discovery import LIST_EXTENSIONS, DiscoveryError, find_audio
from storage.finding.listing import is_local, look_up, open_location, url_of
from storage.printable import shown
from storage.scratch import PREFIX

PIPED = "-"
"""Names the standard input."""


@dataclass(frozen=True, kw_only=True)
class Song:
    """A file to separate.

    Attributes:
        label: what to call it in messages, one printable line.
        name: its path in the folder that was named, or its own name; where two have one, its label.
        fs: filesystem it is on.
        path: its path there.
        place: relative path of the folder for its stems.
        is_piped: whether it came on the standard input.
    """

    label: str
    name: str
    fs: Any
    path: str
    place: PurePosixPath
    is_piped: bool = False


@contextmanager
def standard_input(names: Sequence[str]) -> Iterator[tuple[list[str], list[Song]]]:
    """What was named less ``-``, and the file that ``-`` means, which is there in the context.

    Raises:
        UserError: nothing is piped in.
    """
    named = [name for name in names if name != PIPED]
    if len(named) == len(names):
        yield named, []
        return
    if sys.stdin.isatty():
        raise UserError(f"{PIPED} is the standard input, and nothing is piped into it")
    with tempfile.NamedTemporaryFile(prefix=PREFIX) as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        fs, path = open_location(file.name)
        place = PurePosixPath("stdin")
        piped = "standard input"
        yield named, [Song(label=piped, name=piped, fs=fs, path=path, place=place, is_piped=True)]


def find_songs(names: Sequence[str], output: Path) -> tuple[list[Song], list[str]]:
    """Find what was named, each file once, and give each a place of its own.

    The stems of ``song.mp3`` go to ``song``, those of ``album/song.mp3`` in a folder that was named
    to ``album/song``. Where two files would share a place, they keep their extensions, or else get
    numbers.

    Args:
        names: files of any extension, folders, globs, lists, or URLs of these.
        output: what is in this folder is left out of the folders and globs that were named: it is
            stems of an earlier run.

    Returns:
        The files, and a line for each name that names none.
    """
    songs: dict[str, Song] = {}
    problems: list[str] = []
    for name in names:
        try:
            found = _named(name, output.resolve())
        except DiscoveryError as error:
            problems.append(str(error))
            continue
        for song in found:
            songs.setdefault(url_of(song.fs, song.path), song)
    return _apart(list(songs.values())), problems


def _named(name: str, output: Path) -> list[Song]:
    fs, path = open_location(name)
    entry = look_up(fs, path)
    if entry is not None and entry.is_file and entry.extension not in LIST_EXTENSIONS:
        # whatever it is called, somebody means it
        own = PurePosixPath(path).name
        return [Song(label=shown(name), name=shown(own), fs=fs, path=path, place=_inside(own))]
    fs, found = find_audio(name)
    folder = f"{path.rstrip('/')}/" if entry is not None and entry.is_folder else None
    songs = []
    for file in found:
        if is_local(fs) and Path(file.path).resolve().is_relative_to(output):
            continue
        place = PurePosixPath(file.path)
        below = file.path.removeprefix(folder) if folder else place.name
        songs.append(
            Song(
                label=shown(file.url), name=shown(below), fs=fs, path=file.path,
                place=_inside(below),
            )
        )  # fmt: skip
    if not songs:
        raise DiscoveryError(f"{shown(name)}: holds no music but what is in the output folder")
    return songs


def _inside(path: str) -> PurePosixPath:
    """A path that stays in its folder, also when it has lost its extension: ``...wav`` as ``_``.

    What names nothing, as the ``/`` of a list, is ``_`` too.
    """
    parts = [
        part.replace(".", "_") if PurePosixPath(part).stem.strip(".") == "" else part
        for part in path.split("/")
        if part
    ]
    return PurePosixPath(*parts or "_")


def _apart(songs: list[Song]) -> list[Song]:
    """Take the extension off the places, as far as they stay different; on any filesystem."""
    names = Counter(song.name for song in songs)
    stems = Counter(_key(song.place.with_suffix("")) for song in songs)
    taken: set[str] = set()
    apart = []
    for song in songs:
        bare = song.place.with_suffix("")
        wanted = bare if stems[_key(bare)] == 1 else song.place
        place, number = wanted, 1
        while _key(place) in taken:
            number += 1
            place = wanted.with_name(f"{wanted.name} ({number})")
        taken.add(_key(place))
        name = song.name if names[song.name] == 1 else song.label
        apart.append(replace(song, place=place, name=name))
    return apart


def _key(place: PurePosixPath) -> str:
    return str(place).casefold()
