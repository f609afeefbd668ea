"""One method's scores as museval keeps them: a folder with a JSON file a song, in ``test/``.

What lies there can be read by ``museval.EvalStore`` and ``MethodStore``, and so can other people's
results be read from theirs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from pathlib import PurePosixPath

import numpy as np
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from storage.errors import UserError
from storage.fingerprint import short_hash
from storage.museval_json import from_museval

SUBSET = "test"
MAX_STEM_BYTES = 200
UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]|^\.+")


class MusevalFolderError(UserError):
    """A folder of results that is missing, or holds something else."""


def result_path(folder: str, song: str) -> str:
    """Where a song's scores go in a method's folder.

    >>> result_path("reports/museval/mine", "A - B")
    'reports/museval/mine/test/A - B.json'
    """
    return f"{folder}/{SUBSET}/{file_stem(song)}.json"


def file_stem(song: str) -> str:
    """A song's name as a file name: itself where that is safe, else told apart by a hash.

    >>> file_stem("A - B"), file_stem("../A")
    ('A - B', '__A-80dd850293b1')
    """
    safe = UNSAFE.sub("_", song)
    cut = safe.encode("utf-8", "replace")[:MAX_STEM_BYTES].decode("utf-8", "ignore")
    return song if cut == song and song else f"{cut}-{short_hash(song)}"


def read_results(url: str, songs: Collection[str]) -> dict[str, dict[str, dict[str, float]]]:
    """A method's published scores of those of ``songs`` that it has, matched by file name.

    Args:
        url: folder, or fsspec URL, with ``test/<song>.json`` or ``<song>.json``.
        songs: names of songs.

    Returns:
        A song's name to its sources to their metrics: the medians over frames in dB, NaN if none
        is finite. Sources are those of the file, ``accompaniment`` included if it is there.

    Raises:
        MusevalFolderError: there is no such folder, no JSON in it, or a song's is not museval's.
    """
    fs, root = url_to_fs(url)
    if not fs.isdir(root):
        raise MusevalFolderError(f"{url}: no such folder of museval results")
    subset = f"{root.rstrip('/')}/{SUBSET}"
    listing = fs.find(subset) if fs.isdir(subset) else fs.ls(root, detail=False)
    files = {
        _normal(PurePosixPath(path).stem): path
        for path in sorted(listing)
        if path.endswith(".json")
    }
    if not files:
        raise MusevalFolderError(
            f"{url}: holds no museval results; they are files {SUBSET}/<song>.json or <song>.json"
        )
    found = {}
    for song in songs:
        path = files.get(_normal(song), files.get(_normal(file_stem(song))))
        if path is not None:
            try:
                scores = from_museval(fs.cat_file(path))
            except (ValueError, AttributeError) as error:
                raise MusevalFolderError(f"{fs.unstrip_protocol(path)}: {error}") from error
            found[song] = {
                source: {name: frame_median(values) for name, values in metrics.items()}
                for source, metrics in scores.items()
            }
    return found


def frame_median(values: NDArray[np.float64]) -> float:
    """Median of the finite frames, as museval aggregates them; NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _normal(name: str) -> str:
    """A name in Unicode's composed form; macOS hands out the decomposed one."""
    return unicodedata.normalize("NFC", name)
