"""Find the songs of a labelled set: MUSDB18, MUSDB18-HQ, or folders of stems in any of their forms.

A set is a folder with ``train/``, ``test/`` and perhaps ``valid/``. A song there is either one file
``Song.stem.mp4`` whose audio streams are in MUSDB18's order, or a folder ``Song/`` with files or
folders of takes for the sources and perhaps a ``mixture`` (:mod:`storage.labelled.song_files`).
Which stream holds which source, and which training songs MUSDB18 sets aside for validation, is read
from the musdb package. The listing itself is our own: musdb lists no object store, no format but
WAV, and takes a folder that lacks stems for a song.

A folder without splits that has a folder a source, or a CSV file, is a library of single stems
(:mod:`storage.labelled.libraries`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from storage.finding.listing import (
    DiscoveryError,
    Entry,
    list_folder,
    look_up,
    open_location,
)
from storage.labelled.libraries import CSV, songs_of_csv, songs_of_library
from storage.labelled.musdb import choose_validation
from storage.labelled.song import SPLITS, LabelledSetError, LabelledSong, Split
from storage.labelled.song_files import (
    STEM_FILE,
    UNREADABLE,
    Absent,
    StemRules,
    is_passed_over,
    song_of_folder,
    song_of_stem_file,
    where_is,
)
from storage.labelled.stem_names import StemNames
from storage.printable import shown

__all__ = ["LabelledSetError", "find_songs"]


def find_songs(
    root: str,
    sources: Sequence[str],
    *,
    stems: str = "",
    absent: Absent = "refuse",
    valid_share: float = 0.14,
    require_test: bool = True,
) -> tuple[Any, list[LabelledSong]]:
    """Find the songs of a labelled set, or the stems of a library as songs of one known source.

    Validation songs are those in ``valid/``, where there is such a folder with songs; else those
    training songs whose name says so (see :func:`choose_validation`).

    One name may occur in several splits (the rows that come of it carry the split as well); equal
    audio in two splits is found by content (:mod:`flows.ingest.current_songs`).

    Args:
        root: local path or fsspec URL of the set: a folder, or the CSV file of a library.
        sources: names of the sources, in order; the stems of a song must hold each once.
        stems: which files hold which sources, where their names don't tell
            (:mod:`storage.labelled.stem_names`).
        absent: what a source is that neither a file nor the mixture holds.
        valid_share: how likely a training song is for validation, where nothing else says which.
        require_test: whether a set without test songs is refused.

    Returns:
        The fsspec filesystem, and the songs sorted by split (train, valid, test) and name.

    Raises:
        LabelledSetError: the set is missing, empty or incomplete, holds an unknown source, or a
            test song of which not every source is known by itself.
    """
    if not 0 <= valid_share < 1:
        raise LabelledSetError(f"valid_share must be at least 0 and below 1, not {valid_share}")
    try:
        fs, folder = open_location(root)
        rules = StemRules(names=StemNames.parse(stems, sources), absent=absent)
        place = look_up(fs, folder)
        if place is not None and place.is_file and place.extension == CSV:
            return songs_of_csv(fs, place, rules)
        if (library := _library(fs, place, rules)) is not None:
            return fs, library
        songs = _all_songs(fs, place, folder, root, rules, require_test)
    except DiscoveryError as error:
        raise LabelledSetError(str(error)) from error
    if not any(song.split == "valid" for song in songs):
        chosen = choose_validation(
            [song.name for song in songs if song.split == "train"], valid_share
        )
        songs = [
            replace(song, split="valid") if song.split == "train" and song.name in chosen else song
            for song in songs
        ]
    return fs, sorted(songs, key=lambda song: (SPLITS.index(song.split), song.name))


def _library(fs: Any, place: Entry | None, rules: StemRules) -> list[LabelledSong] | None:
    """The stems of a library, or None if the place is none."""
    if place is None or not place.is_folder:
        return None
    folders = [
        entry
        for entry in list_folder(fs, place.path)
        if entry.is_folder and not is_passed_over(entry.name)
    ]
    if any(entry.name in SPLITS for entry in folders):
        return None
    return songs_of_library(fs, place, folders, rules)


def _all_songs(
    fs: Any, place: Entry | None, folder: str, root: str, rules: StemRules, require_test: bool
) -> list[LabelledSong]:
    if place is None:
        raise LabelledSetError(f"{shown(root)}: no such file or folder; check the path")
    if not place.is_folder:
        raise LabelledSetError(
            f"{shown(root)}: is a file; a labelled set is a folder, a library of stems a "
            "folder or a .csv file"
        )
    folders = {entry.name: entry for entry in list_folder(fs, folder) if entry.is_folder}
    if "train" not in folders:
        raise LabelledSetError(
            f"{shown(root)}: no train/ folder; a labelled set has train/ and test/, with a "
            ".stem.mp4 file or a folder of stems for each song; a library of stems has folders "
            f"named {', '.join(rules.sources)}"
        )
    songs: list[LabelledSong] = []
    for split in SPLITS:
        if split in folders:
            songs += _songs(fs, folders[split], split, rules)
    for split in ("train", "test") if require_test else ("train",):
        if not any(song.split == split for song in songs):
            raise LabelledSetError(
                f"{shown(root)}: no {split} songs; put Song.stem.mp4 files, or folders with "
                f"{', '.join(rules.sources)}, into {where_is(fs, folder)}/{split}/"
            )
    return songs


def _songs(fs: Any, split_folder: Entry, split: Split, rules: StemRules) -> Iterable[LabelledSong]:
    songs: dict[str, LabelledSong] = {}
    for entry in list_folder(fs, split_folder.path):
        if is_passed_over(entry.name):
            continue
        if entry.is_folder:
            song = song_of_folder(fs, entry, split, rules)
        elif not entry.is_file:
            raise LabelledSetError(f"{where_is(fs, entry.path)}: {UNREADABLE}")
        elif entry.name.lower().endswith(STEM_FILE):
            song = song_of_stem_file(fs, entry, split, rules)
        else:
            continue
        if song.name in songs:
            raise LabelledSetError(
                f"{where_is(fs, entry.path)}: there is another song of this name; remove one of "
                "them"
            )
        songs[song.name] = song
    return songs.values()
