"""How well the same music is known in another sound: ``python -m benchmarks.duplicates``.

Generated songs (``--songs 500``) of 40 s; of each six copies: MP3 at 128 and 64 kbit/s, AAC, Opus,
Vorbis and WMA, each up to 6 dB softer, after up to 3 s of silence, and cut to two thirds at least.
All are decoded and printed as ingest does it. Then every copy is looked up among the songs, as
those held out are, and all are compared with all, as tracks are: ``recall`` is the share of copies
that are told to be a copy, ``false_pairs`` counts the pairs of different songs among ``pairs``.

``--tracks 100000`` compares so many prints of random numbers beside, a hundredth of them copies,
and says what CPU time that takes, and memory. ``print_share`` and ``measure_share`` are
the shares of ingest's CPU time, from an MP3 to canonical audio and its rows, that go into prints
and into measures (loudness, bandwidth and the like). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import soundfile
from fsspec.implementations.local import LocalFileSystem

from demo_corpus.composition import compose
from demo_corpus.palette import pool
from demo_corpus.rendering import render
from demucs_core.duplicates.known import KnownPrints
from flows.ingest.measures import TrackMeasures
from flows.ingest.prints import hash_and_print
from flows.ingest.similar import Items, find_pairs
from storage.decoding.canonical import PreparedAudio, decode_into
from storage.decoding.decode import open_local
from storage.decoding.prints import HOW_TO_GET, Printer, can_print

RATE, CHANNELS = 44_100, 2
SONG_S = 40.0
ITEMS_A_TRACK = 1_900
LOCAL = LocalFileSystem()


@dataclass(frozen=True)
class Encoding:
    """How a copy is written: FFmpeg's names, but Vorbis, which libsndfile writes better."""

    name: str
    extension: str
    codec: str
    bit_rate: int = 0
    sample_rate: int = RATE


ENCODINGS = (
    Encoding("mp3-128", "mp3", "libmp3lame", 128_000),
    Encoding("mp3-64", "mp3", "libmp3lame", 64_000),
    Encoding("aac-128", "m4a", "aac", 128_000),
    Encoding("opus-64", "opus", "libopus", 64_000, 48_000),
    Encoding("vorbis", "ogg", "vorbis"),
    Encoding("wma-128", "wma", "wmav2", 128_000),
)


def write(path: Path, audio: np.ndarray, encoding: Encoding) -> None:
    """Write ``(2, T)`` audio."""
    if encoding.codec == "vorbis":
        with soundfile.SoundFile(path, "w", RATE, CHANNELS, "VORBIS", format="OGG") as file:
            for start in range(0, audio.shape[1], RATE):
                file.write(audio[:, start : start + RATE].T)
        return
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(
            encoding.codec, rate=encoding.sample_rate, layout="stereo", bit_rate=encoding.bit_rate
        )
        context = stream.codec_context
        resampler = av.AudioResampler(
            format=context.format, layout="stereo", rate=encoding.sample_rate,
            frame_size=context.frame_size or None,
        )  # fmt: skip
        frame = av.AudioFrame.from_ndarray(audio, format="fltp", layout="stereo")
        frame.sample_rate = RATE
        for resampled in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))


def printed(path: Path) -> Items:
    """The print of a file, decoded as ingest does it."""
    with tempfile.TemporaryFile() as scratch, open_local(LOCAL, str(path)) as file:
        audio = PreparedAudio(scratch, RATE, CHANNELS)
        for _ in decode_into(audio, file):
            pass
        items = hash_and_print(audio)[1]
        assert items is not None
        return items


def song_and_copies(index: int) -> tuple[list[Items], list[float]]:
    """The prints of a song and of its copies, and what ingest's parts cost: see :func:`_costs`."""
    rng = np.random.default_rng([13, index])
    instruments = pool("all")
    stems = render(rng, compose(rng, instruments, SONG_S), instruments)
    song = stems.sum(axis=0).astype(np.float32) / np.float32(32_768)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.wav"
        soundfile.write(path, song.T, RATE, "PCM_16")
        found.append(printed(path))
        for encoding in ENCODINGS:
            length = round(song.shape[1] * rng.uniform(2 / 3, 1))
            start = int(rng.integers(0, song.shape[1] - length + 1))
            softer = song[:, start : start + length] * 10 ** (-rng.uniform(0, 6) / 20)
            leader = np.zeros((CHANNELS, int(rng.integers(0, 3 * RATE))))
            copy = np.ascontiguousarray(np.concatenate([leader, softer], axis=1), np.float32)
            path = Path(folder) / f"{encoding.name}.{encoding.extension}"
            write(path, copy, encoding)
            found.append(printed(path))
        costs = _costs(Path(folder) / f"{ENCODINGS[0].name}.{ENCODINGS[0].extension}")
    return found, costs


def _costs(path: Path) -> list[float]:
    """CPU seconds a second of audio: all but the following, the print, the measures."""
    with (
        tempfile.TemporaryFile() as scratch,
        tempfile.TemporaryFile() as target,
        open_local(LOCAL, str(path)) as file,
    ):
        audio = PreparedAudio(scratch, RATE, CHANNELS)
        started = time.process_time()
        for _ in decode_into(audio, file):
            pass
        audio.content_hash()
        audio.write_wav(target)
        times = [time.process_time() - started]
        target.seek(44)
        pcm = memoryview(target.read())
        for heard in (Printer(RATE, CHANNELS), TrackMeasures(RATE, CHANNELS)):
            started = time.process_time()
            for start in range(0, len(pcm), 2**20):
                heard.feed(pcm[start : start + 2**20])
            _ = heard.finish() if isinstance(heard, Printer) else heard.row("", {})
            times.append(time.process_time() - started)
    return [each / audio.duration_s for each in times]


def measure(num_songs: int, workers: int) -> dict[str, float]:
    """Recall and false pairs."""
    with ProcessPoolExecutor(workers) as processes:
        made = list(processes.map(song_and_copies, range(num_songs), chunksize=1))
    songs = [prints for prints, _ in made]
    known = KnownPrints(prints[0] for prints in songs)
    missed, false_looked_up = dict.fromkeys((each.name for each in ENCODINGS), 0), 0
    for number, prints in enumerate(songs):
        for encoding, items in zip(ENCODINGS, prints[1:], strict=True):
            places = {place for place, _ in known.find(items)}
            missed[encoding.name] += number not in places
            false_looked_up += len(places - {number})
    for name, count in missed.items():
        print(f"{name}: {count} of {num_songs} copies are missed among the songs")
    flat = [(number, items) for number, prints in enumerate(songs) for items in prints]
    order = np.random.default_rng(0).permutation(len(flat))
    shuffled = [flat[place] for place in order]
    started = time.process_time()
    pairs = list(find_pairs(lambda: ((n, items) for n, (_, items) in enumerate(shuffled)), 0))
    pairs_s = time.process_time() - started
    told = {pair.later for pair in pairs if _same(shuffled, pair.later, pair.earlier)}
    false_pairs = sum(not _same(shuffled, pair.later, pair.earlier) for pair in pairs)
    num_pairs = len(flat) * (len(flat) - 1) // 2
    num_copies = num_songs * len(ENCODINGS)
    costs = np.median([cost for _, cost in made], axis=0)
    shares = costs / costs.sum()
    return {
        "songs": num_songs,
        "copies": num_copies,
        "held_out_recall": 1 - sum(missed.values()) / num_copies,
        "held_out_false": false_looked_up,
        "recall": len(told) / num_copies,  # of each song's seven files one comes first
        "false_pairs": false_pairs,
        "pairs": num_pairs,
        "false_a_100000": 1e5 * false_pairs / num_pairs,
        "pairs_cpu_s": round(pairs_s, 2),
        "print_share": round(float(shares[1]), 3),
        "measure_share": round(float(shares[2]), 3),
    }


def _same(files: list[tuple[int, Items]], one: int, other: int) -> bool:
    return files[one][0] == files[other][0]


def scale(num_tracks: int) -> dict[str, float]:
    """CPU time and memory of comparing many tracks, and then of a thousand new ones with them."""

    def prints() -> Iterator[tuple[int, Items]]:
        for number in range(num_tracks):
            is_copy = number % 100 == 99
            rng = np.random.default_rng(number - 50 if is_copy else number)
            items = rng.integers(0, 2**32, ITEMS_A_TRACK, dtype=np.uint32)
            if is_copy:
                items[rng.random(ITEMS_A_TRACK) < 0.7] ^= 1
            yield number, items

    began = psutil.Process().memory_info().rss
    figures: dict[str, float] = {"tracks": num_tracks}
    for name, first_new in (("all", 0), ("thousand_new", num_tracks - 1000)):
        started = time.process_time()
        found = sum(1 for _ in find_pairs(prints, max(0, first_new)))
        figures |= {
            f"{name}_cpu_s": round(time.process_time() - started, 1),
            f"{name}_pairs": found,
        }
    figures["peak_mib"] = round((_peak_bytes() - began) / 2**20)
    return figures


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=500)
    parser.add_argument("--tracks", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if not can_print():
        raise SystemExit(HOW_TO_GET)
    figures = {"name": "duplicates"} | (measure(asked.songs, asked.workers) if asked.songs else {})
    if asked.tracks:
        figures |= scale(asked.tracks)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
