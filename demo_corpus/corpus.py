"""Writes the demo's files: a labelled set shaped like MUSDB18-HQ, and a folder of unlabelled music.

Songs are numbered; song n of a seed is the same whatever else is written. A folder appears whole or
not at all, and what is there already is left as it is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from demo_corpus.composition import compose
from demo_corpus.files import broken_files, encode, music_file
from demo_corpus.names import song_name
from demo_corpus.palette import ALL, pool
from demo_corpus.rendering import Stems, render
from demo_corpus.sampler import SAMPLE_RATE
from demo_corpus.score import SOURCES

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Like the built-in ``map``: ``Executor.map`` makes songs in other processes."""

HOP_SAMPLES = 4096
FLOOR_DB = -120.0
MARKER = "corpus.json"
UNLABELLED_SONGS = 1_000_000
"""First number of the unlabelled songs: no labelled set is so large."""


@dataclass(frozen=True, kw_only=True)
class SongOrder:
    """A song to make.

    Attributes:
        seed: of the corpus.
        number: of the song; decides it together with the seed.
        duration_s: longest it may be.
        instruments: name of the instrument pool.
        target: folder (labelled) or file without its ending (unlabelled) to write.
        kind: how to encode an unlabelled song, or empty for a labelled one.
    """

    seed: int
    number: int
    duration_s: float
    instruments: str
    target: str
    kind: str = ""


def make_song(order: SongOrder) -> Stems:
    """Compose and play a song: 16-bit stems of shape ``(4, 2, T)``."""
    rng = np.random.default_rng([order.seed, order.number])
    instruments = pool(order.instruments)
    return render(rng, compose(rng, instruments, order.duration_s), instruments)


def write_demo(
    root: Path,
    *,
    seed: int,
    num_train: int,
    num_valid: int,
    num_test: int,
    num_unlabelled: int,
    duration_s: float,
    instruments: str = ALL.name,
    map: Map = map,
) -> None:
    """Write ``labelled/``, ``unlabelled/`` and ``truth.parquet`` below ``root``."""
    labelled = root / "labelled"
    write_labelled(
        labelled,
        seed=seed,
        num_train=num_train,
        num_valid=num_valid,
        num_test=num_test,
        duration_s=duration_s,
        instruments=instruments,
        map=map,
    )
    write_unlabelled(
        root / "unlabelled",
        root / "truth.parquet",
        seed=seed,
        num_songs=num_unlabelled,
        duration_s=duration_s,
        instruments=instruments,
        leak=next(iter(sorted(labelled.glob("test/*/mixture.wav"))), None),
        map=map,
    )


def write_labelled(
    root: Path,
    *,
    seed: int,
    num_train: int,
    num_valid: int,
    num_test: int,
    duration_s: float,
    instruments: str = ALL.name,
    map: Map = map,
) -> None:
    """Write ``train/``, ``valid/`` and ``test/`` with a folder of five WAV files a song."""
    parameters: dict[str, Any] = {
        "seed": seed, "num_train": num_train, "num_valid": num_valid, "num_test": num_test,
        "duration_s": duration_s, "instruments": instruments,
    }  # fmt: skip
    if not _begin(root, parameters):
        return
    splits = ["train"] * num_train + ["valid"] * num_valid + ["test"] * num_test
    orders = [
        SongOrder(
            seed=seed,
            number=number,
            duration_s=duration_s,
            instruments=instruments,
            target=str(root / split / song_name(seed, number)),
        )
        for number, split in enumerate(splits)
    ]
    for _ in map(_write_labelled_song, orders):
        pass
    _finish(root, parameters)


def write_unlabelled(
    root: Path,
    truth: Path,
    *,
    seed: int,
    num_songs: int,
    duration_s: float,
    instruments: str = ALL.name,
    leak: Path | None = None,
    map: Map = map,
) -> None:
    """Write songs in mixed formats, some files that can't be used, and the truth kept apart.

    Args:
        root: folder of the corpus.
        truth: Parquet file to write: a row a file and source, with ``path`` below ``root``,
            ``source``, ``hop_samples``, and the frame levels ``level_db`` of the stem and
            ``mixture_level_db``, in dBFS, as played, before encoding.
        seed: decides the songs.
        num_songs: songs, besides the broken files.
        duration_s: longest a song may be.
        instruments: name of the instrument pool.
        leak: a labelled test mixture to copy into the corpus, which ingest must notice.
        map: see :data:`Map`.
    """
    parameters: dict[str, Any] = {
        "seed": seed, "num_songs": num_songs, "duration_s": duration_s,
        "instruments": instruments, "leak": str(leak),
    }  # fmt: skip
    if not _begin(root, parameters):
        return
    orders = []
    for index in range(num_songs):
        number = UNLABELLED_SONGS + index
        path, kind = music_file(song_name(seed, number), index)
        orders.append(
            SongOrder(
                seed=seed,
                number=number,
                duration_s=duration_s,
                instruments=instruments,
                target=str(root / path),
                kind=kind,
            )
        )
    rows = [
        {"path": Path(order.target).relative_to(root).as_posix(), **row}
        for order, found in zip(orders, map(_write_unlabelled_song, orders), strict=True)
        for row in found
    ]
    broken_files(root, Path(orders[0].target), leak)
    truth.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), truth)
    _finish(root, parameters)


def frame_levels_db(audio: np.ndarray) -> np.ndarray:
    """RMS level in dBFS of each frame of :data:`HOP_SAMPLES` samples: ``(2, T)`` to ``(F,)``."""
    num_samples = audio.shape[-1]
    starts = np.arange(0, num_samples, HOP_SAMPLES)
    energy = np.add.reduceat((audio.astype(np.float64) ** 2).sum(axis=0), starts)
    lengths = np.minimum(starts + HOP_SAMPLES, num_samples) - starts
    mean_square = energy / (audio.shape[0] * lengths)
    levels: np.ndarray = 10 * np.log10(np.maximum(mean_square, 10 ** (FLOOR_DB / 10)))
    return levels.astype(np.float32)


def _begin(root: Path, parameters: dict[str, Any]) -> bool:
    """Whether there is anything to write; a corpus made with other parameters is removed."""
    marker = root / MARKER
    if marker.exists():
        found = json.loads(marker.read_text())
        if found == {**parameters, "complete": True}:
            return False
        if {key: found.get(key) for key in parameters} != parameters:
            shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({**parameters, "complete": False}))
    return True


def _finish(root: Path, parameters: dict[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=root, delete=False) as file:
        json.dump({**parameters, "complete": True}, file)
    Path(file.name).replace(root / MARKER)


def _write_labelled_song(order: SongOrder) -> None:
    target = Path(order.target)
    if target.exists():
        return
    stems = make_song(order)
    files = dict(zip(SOURCES, stems, strict=True))
    # the sum of four 16-bit stems that together do not clip
    files["mixture"] = stems.astype(np.int32).sum(axis=0).astype(np.int16)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as scratch:
        folder = Path(scratch) / target.name
        folder.mkdir()
        for name, audio in files.items():
            soundfile.write(folder / f"{name}.wav", audio.T, SAMPLE_RATE, subtype="PCM_16")
        folder.replace(target)


def _write_unlabelled_song(order: SongOrder) -> list[dict[str, Any]]:
    stems = make_song(order).astype(np.float32) / 32768
    mixture = stems.sum(axis=0)
    target = Path(order.target)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}")
        encode(mixture, unfinished, order.kind)
        unfinished.replace(target)
    mixture_level_db = frame_levels_db(mixture)
    return [
        {
            "source": source,
            "hop_samples": HOP_SAMPLES,
            "level_db": frame_levels_db(stem),
            "mixture_level_db": mixture_level_db,
        }
        for source, stem in zip(SOURCES, stems, strict=True)
    ]
