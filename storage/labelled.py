"""Find the songs of a labelled set: MUSDB18, MUSDB18-HQ, or plain folders of stems.

A set is a folder with ``train/``, ``test/`` and perhaps ``valid/``. A song there is either one file
``Song.stem.mp4`` whose audio streams are in MUSDB18's order, or a folder ``Song/`` with one file a
source (``drums.wav``, ``bass.flac`` …) and perhaps a ``mixture`` file. Which stream holds which
source, and which training songs MUSDB18 sets aside for validation, is read from the musdb package.
The listing itself is our own: musdb lists no object store, no format but WAV, and takes a folder
that lacks stems for a song.
"""

from __future__ import annotations

import hashlib
import importlib.util
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import yaml

from storage.discovery import MUSIC_EXTENSIONS
from storage.errors import UserError
from storage.listing import (
    DiscoveryError,
    Entry,
    list_folder,
    look_up,
    open_location,
    shown,
    url_of,
    valid_text,
)
from storage.musdb18 import NAMES as MUSDB18
from storage.musdb18 import letters

Split = Literal["train", "valid", "test"]

MIXTURE = "mixture"
STEM_FILE = ".stem.mp4"
UNREADABLE = "neither a file nor a folder, perhaps a link to nowhere; replace or remove it"
NO_SONGS = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"))
"""Folders that other programs leave behind, never songs."""


class LabelledSetError(UserError):
    """A labelled set that is missing, incomplete, or holds what can't be told."""


@dataclass(frozen=True)
class StemSource:
    """Where one stem's audio is.

    Attributes:
        path: file, in the set's filesystem.
        stream: which of the file's audio streams, counted from 0.
    """

    path: str
    stream: int = 0


@dataclass(frozen=True, kw_only=True)
class LabelledSong:
    """A song whose sources are known.

    Attributes:
        name: the song's file or folder name, without ``.stem.mp4``; unique within its split.
        split: what it is for.
        mixture: its mixture; None where the sum of the stems is the mixture.
        stems: one for each source, in the order of the sources.
    """

    name: str
    split: Split
    mixture: StemSource | None
    stems: dict[str, StemSource]


@dataclass(frozen=True)
class MusdbConventions:
    """What the musdb package knows about MUSDB18.

    Attributes:
        streams: audio stream of the mixture and of each source in a ``.stem.mp4``.
        validation_songs: names of the training songs that are for validation.
    """

    streams: Mapping[str, int]
    validation_songs: frozenset[str]


@cache
def musdb_conventions() -> MusdbConventions:
    """Read musdb's own configuration, without importing musdb, which would need ffmpeg."""
    package = importlib.util.find_spec("musdb")
    assert package is not None, "musdb is a dependency"
    assert package.origin is not None, "and a regular package"
    text = (Path(package.origin).parent / "configs" / "mus.yaml").read_text("utf-8")
    config = yaml.safe_load(text)
    return MusdbConventions(
        streams=MappingProxyType(config["stem_ids"]),
        validation_songs=frozenset(map(_normal, config["validation_tracks"])),
    )


def find_songs(
    root: str, sources: Sequence[str], *, valid_share: float = 0.14, require_test: bool = True
) -> tuple[Any, list[LabelledSong]]:
    """Find the songs of a labelled set.

    Validation songs are those in ``valid/``, where there is such a folder with songs; else those
    training songs whose name says so (see :func:`choose_validation`).

    One name may occur in several splits (the rows that come of it carry the split as well); equal
    audio in two splits is found by content (:mod:`flows.ingest.current_songs`).

    Args:
        root: local path or fsspec URL of the set.
        sources: names of the sources; each song must have exactly these.
        valid_share: how likely a training song is for validation, where nothing else says which.
        require_test: whether a set without test songs is refused.

    Returns:
        The fsspec filesystem, and the songs sorted by split (train, valid, test) and name.

    Raises:
        LabelledSetError: the set is missing, empty or incomplete, or holds an unknown source.
    """
    if not 0 <= valid_share < 1:
        raise LabelledSetError(f"valid_share is {valid_share}; it must be at least 0 and below 1")
    try:
        fs, folder = open_location(root)
        songs = _all_songs(fs, folder, root, sources, require_test)
    except DiscoveryError as error:
        raise LabelledSetError(str(error)) from error
    splits = get_args(Split)
    if not any(song.split == "valid" for song in songs):
        chosen = choose_validation(
            [song.name for song in songs if song.split == "train"], valid_share
        )
        songs = [
            replace(song, split="valid") if song.split == "train" and song.name in chosen else song
            for song in songs
        ]
    return fs, sorted(songs, key=lambda song: (splits.index(song.split), song.name))


def choose_validation(names: Iterable[str], share: float) -> frozenset[str]:
    """Choose which training songs are for validation, each by its own name alone.

    A song of MUSDB18 is if musdb holds it out; any other if the BLAKE2b hash of its name, as a
    fraction, is below ``share``. So a song stays what it is when the set grows, and a small set may
    get none at all.

    >>> sorted(choose_validation(["ANiMAL - Rockshow", "ANiMAL - Clinic A", "Another"], 0.14))
    ['ANiMAL - Rockshow']
    """
    return frozenset(name for name in names if _is_held_out(name, share))


def _is_held_out(name: str, share: float) -> bool:
    if letters(name) in MUSDB18:
        return letters(name) in map(letters, musdb_conventions().validation_songs)
    hashed = hashlib.blake2b(_normal(name).encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") < share * 2**64


def _normal(name: str) -> str:
    """A name in Unicode's composed form; macOS hands out the decomposed one."""
    return unicodedata.normalize("NFC", name)


def _all_songs(
    fs: Any, folder: str, root: str, sources: Sequence[str], require_test: bool
) -> list[LabelledSong]:
    place = look_up(fs, folder)
    if place is None:
        raise LabelledSetError(f"{shown(root)}: no such folder; check the path of the labelled set")
    if not place.is_folder:
        raise LabelledSetError(f"{shown(root)}: is a file; a labelled set is a folder")
    folders = {entry.name: entry for entry in list_folder(fs, folder) if entry.is_folder}
    if "train" not in folders:
        raise LabelledSetError(
            f"{shown(root)}: no train/ folder; a labelled set has train/ and test/, with a "
            ".stem.mp4 file or a folder of stems for each song"
        )
    songs: list[LabelledSong] = []
    for split in get_args(Split):
        if split in folders:
            songs += _songs(fs, folders[split], split, sources)
    for split in ("train", "test") if require_test else ("train",):
        if not any(song.split == split for song in songs):
            raise LabelledSetError(
                f"{shown(root)}: no {split} songs; put Song.stem.mp4 files, or folders with "
                f"{', '.join(sources)}, into {_where(fs, folder)}/{split}/"
            )
    return songs


def _songs(
    fs: Any, split_folder: Entry, split: Split, sources: Sequence[str]
) -> Iterable[LabelledSong]:
    songs: dict[str, LabelledSong] = {}
    for entry in list_folder(fs, split_folder.path):
        if entry.name.startswith(".") or entry.name in NO_SONGS:
            continue
        if entry.is_folder:
            song = _song_of_folder(fs, entry, split, sources)
        elif not entry.is_file:
            raise LabelledSetError(f"{_where(fs, entry.path)}: {UNREADABLE}")
        elif entry.name.lower().endswith(STEM_FILE):
            song = _song_of_stem_file(fs, entry, split, sources)
        else:
            continue
        if song.name in songs:
            raise LabelledSetError(
                f"{_where(fs, entry.path)}: there is another song of this name; remove one of them"
            )
        songs[song.name] = song
    return songs.values()


def _song_of_stem_file(fs: Any, entry: Entry, split: Split, sources: Sequence[str]) -> LabelledSong:
    streams = musdb_conventions().streams
    for source in sources:
        if source not in streams:
            raise LabelledSetError(
                f"{_where(fs, entry.path)}: a .stem.mp4 holds no source {source!r}, only "
                f"{_source_names(streams)}; use a folder of stems"
            )
    return LabelledSong(
        name=valid_text(entry.name[: -len(STEM_FILE)]),
        split=split,
        mixture=StemSource(entry.path, streams[MIXTURE]),
        stems={source: StemSource(entry.path, streams[source]) for source in sources},
    )


def _song_of_folder(fs: Any, folder: Entry, split: Split, sources: Sequence[str]) -> LabelledSong:
    found: dict[str, Entry] = {}
    for entry in list_folder(fs, folder.path):
        if entry.name.startswith(".") or entry.extension not in MUSIC_EXTENSIONS:
            continue
        if not entry.is_file:
            raise LabelledSetError(f"{_where(fs, entry.path)}: {UNREADABLE}")
        source = entry.name[: -len(entry.extension) - 1].lower()
        if source not in (*sources, MIXTURE):
            raise LabelledSetError(
                f"{_where(fs, entry.path)}: unknown source {source!r}; "
                f"the sources are {', '.join(sources)} (and {MIXTURE})"
            )
        if source in found:
            raise LabelledSetError(
                f"{_where(fs, folder.path)}: {source} is there twice, as "
                f"{shown(found[source].name)} and {shown(entry.name)}; remove one"
            )
        found[source] = entry
    missing = [source for source in sources if source not in found]
    if missing:
        raise LabelledSetError(
            f"{_where(fs, folder.path)}: no {' and no '.join(missing)} (such as {missing[0]}.wav); "
            f"a song needs {', '.join(sources)}; add what is missing, or move the folder out of "
            f"{split}/"
        )
    mixture = found.get(MIXTURE)
    return LabelledSong(
        name=valid_text(folder.name),
        split=split,
        mixture=StemSource(mixture.path) if mixture else None,
        stems={source: StemSource(found[source].path) for source in sources},
    )


def _where(fs: Any, path: str) -> str:
    return shown(url_of(fs, path))


def _source_names(streams: Iterable[str]) -> str:
    return ", ".join(name for name in streams if name != MIXTURE)
