"""One method's scores as museval keeps them: a folder with a JSON file a song, in ``test/``.

What lies there can be read by ``museval.EvalStore`` and ``MethodStore``, and so can other people's
results be read from theirs, be they packed (``.json.gz``, as the authors of Demucs and the SiSEC of
2018 publish them) or not.
"""

from __future__ import annotations

import io
import re
import unicodedata
import zlib
from collections.abc import Collection
from gzip import GzipFile
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.addresses import filesystem_of
from storage.errors import UserError
from storage.fingerprint import short_hash
from storage.museval_json import from_museval

SUBSET = "test"
SUFFIXES = (".json", ".json.gz")
MAX_STEM_BYTES = 200

MAX_BYTES = 2**26
"""Of a song's scores, unpacked; an hour of five sources takes 4 MB."""

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


def run_folders(url: str) -> list[str]:
    """The folders that a pattern such as ``results/demucs-seed*`` names, or the one that it is.

    Raises:
        MusevalFolderError: no folder fits the pattern.
    """
    fs, root = filesystem_of(url)
    if not set("*?[") & set(root) or fs.isdir(root):
        return [url]
    folders = sorted(path for path in fs.glob(root) if fs.isdir(path))
    if not folders:
        raise MusevalFolderError(f"{url}: no folder has such a name")
    return [str(fs.unstrip_protocol(path)) for path in folders]


def read_results(url: str, songs: Collection[str]) -> dict[str, dict[str, dict[str, float]]]:
    """A method's published scores of those of ``songs`` that it has, matched by file name.

    Args:
        url: folder, or fsspec URL, with ``test/<song>.json`` or ``<song>.json``, or either packed
            (``.json.gz``).
        songs: names of songs.

    Returns:
        A song's name to its sources to their metrics: the medians over frames in dB, NaN if none
        is finite. Sources are those of the file, ``accompaniment`` included if it is there.

    Raises:
        MusevalFolderError: there is no such folder, no scores in it, or a song's are not museval's,
            damaged, or larger than scores can be.
    """
    fs, root = filesystem_of(url)
    if not fs.isdir(root):
        raise MusevalFolderError(f"{url}: no such folder of museval results")
    subset = f"{root.rstrip('/')}/{SUBSET}"
    listing = fs.find(subset) if fs.isdir(subset) else fs.ls(root, detail=False)
    # In reverse, so that of a song that is there packed and not, what is not packed comes last.
    files = {
        _normal(PurePosixPath(path).name.removesuffix(".gz").removesuffix(".json")): path
        for path in sorted(listing, reverse=True)
        if path.endswith(SUFFIXES)
    }
    if not files:
        raise MusevalFolderError(
            f"{url}: holds no museval results; they are files {SUBSET}/<song>.json or <song>.json, "
            "or .json.gz"
        )
    found = {}
    for song in songs:
        path = files.get(_normal(song), files.get(_normal(file_stem(song))))
        if path is not None:
            try:
                scores = from_museval(_content(fs, path))
            except (ValueError, AttributeError, EOFError, zlib.error, OSError) as error:
                raise MusevalFolderError(f"{fs.unstrip_protocol(path)}: {error}") from error
            found[song] = {
                source: {name: frame_median(values) for name, values in metrics.items()}
                for source, metrics in scores.items()
            }
    return found


def _content(fs: Any, path: str) -> bytes:
    """A file's bytes, unpacked, no more of which are read than scores can have."""
    with fs.open(path, "rb") as file:
        content: bytes = file.read(MAX_BYTES + 1)
    if path.endswith(".gz") and len(content) <= MAX_BYTES:
        content = GzipFile(fileobj=io.BytesIO(content)).read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"larger than the {MAX_BYTES // 2**20} MiB that a song's scores may have")
    return content


def frame_median(values: NDArray[np.float64]) -> float:
    """Median of the finite frames, as museval aggregates them; NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _normal(name: str) -> str:
    """A name in Unicode's composed form; macOS hands out the decomposed one."""
    return unicodedata.normalize("NFC", name)
