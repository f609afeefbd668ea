"""Files of labelled sets, with something in them, in any filesystem; and what is found there."""

from __future__ import annotations

from typing import Any

import fsspec
import pytest

from storage.labelled.sets import LabelledSetError, find_songs
from storage.labelled.song import LabelledSong

SOURCES = ("drums", "bass", "other", "vocals")
STEMS = [f"{source}.wav" for source in SOURCES]


def write(root: str, *names: str) -> str:
    """Write files with something in them; returns the root's path in its filesystem."""
    fs, folder = fsspec.core.url_to_fs(root)
    for name in names:
        path = f"{folder}/{name}"
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        fs.pipe_file(path, b"audio")
    return str(folder)


def write_songs(root: str, *songs: str) -> str:
    return write(root, *(f"{song}/{stem}" for song in songs for stem in STEMS))


def url(root: str) -> str:
    """The root as messages show it."""
    fs, folder = fsspec.core.url_to_fs(root)
    return folder if "://" not in root else str(fs.unstrip_protocol(folder))


def names(songs: list[LabelledSong]) -> list[tuple[str, str]]:
    return [(song.split, song.name) for song in songs]


def message(root: str, sources: tuple[str, ...] = SOURCES, **options: Any) -> str:
    with pytest.raises(LabelledSetError) as refused:
        find_songs(root, sources, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)
