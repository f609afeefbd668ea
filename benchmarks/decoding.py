"""What decoding in a process of its own costs: ``python -m benchmarks.decoding [--files 24]``.

Files (WAV, MP3, FLAC, M4A) of 20 to 60 s a file goes from files to canonical audio, once as
ingest does it, in a process that may die of a file, and once in this process, which would die with
it. Both write the same bytes. The last line is JSON: ``cost`` is the share of CPU time that
isolation adds, ``wall_cost`` that of time as a clock shows it, which a busy machine blurs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import psutil
import soundfile
from fsspec.implementations.local import LocalFileSystem

from storage.decoding.canonical import PreparedAudio, decode_into, prepare
from storage.decoding.decode import open_local
from storage.decoding.decoder_process import decoder

RATE, CHANNELS = 44_100, 2
LOCAL = LocalFileSystem()


def write_corpus(folder: Path, num_files: int, rates: Sequence[int] = (RATE,)) -> list[Path]:
    """Noise and tones; a fourth of the files in each format, with each of the rates in turn."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(num_files):
        rate = rates[number // 4 % len(rates)]
        time_s = np.arange(round(rate * rng.uniform(20, 60))) / rate
        tone = 0.2 * np.sin(2 * np.pi * rng.uniform(100, 900) * time_s)
        audio = np.stack([tone, tone[::-1]]) + 0.02 * rng.standard_normal((2, len(time_s)))
        path = folder / f"{number}.{('wav', 'mp3', 'flac', 'm4a')[number % 4]}"
        if path.suffix == ".m4a":
            _write_m4a(path, audio.astype(np.float32), rate)
        else:
            soundfile.write(path, audio.T, rate)
        paths.append(path)
    return paths


def _write_m4a(path: Path, audio: np.ndarray, rate: int) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(audio, format="fltp", layout="stereo")
        frame.sample_rate = rate
        for given in (frame, None):
            output.mux(stream.encode(given))


def isolated(path: Path, target: Path) -> None:
    """As ingest does it."""
    with prepare(LOCAL, str(path), sample_rate=RATE, num_channels=CHANNELS) as audio:
        _finish(audio, target)


def here(path: Path, target: Path) -> None:
    """The same in this process."""
    with tempfile.TemporaryFile() as scratch, open_local(LOCAL, str(path)) as file:
        audio = PreparedAudio(scratch, RATE, CHANNELS)
        for _ in decode_into(audio, file):
            pass
        _finish(audio, target)


def _finish(audio: PreparedAudio, target: Path) -> None:
    audio.content_hash()
    with target.open("wb") as file:
        audio.write_wav(file)


def cpu_s() -> float:
    """CPU time so far, of this process and the one that decodes."""
    pids = [os.getpid(), *([pid] if (pid := decoder().pid) else [])]
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(time.user + time.system for time in times))


def seconds(
    work: Callable[[Path, Path], None], paths: Sequence[Path], target: Path
) -> tuple[float, float]:
    """CPU time and time for all files."""
    started, cpu_before = time.perf_counter(), cpu_s()
    for path in paths:
        work(path, target)
    return cpu_s() - cpu_before, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="what decoding in a process of its own costs")
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_corpus(Path(folder), args.files)
        target = Path(folder) / "out.wav"
        isolated(paths[0], target)  # starts the process, which then stays
        runs = [
            (seconds(here, paths, target), seconds(isolated, paths, target))
            for _ in range(args.repeats)
        ]
    took = {
        name: (min(run[side][0] for run in runs), min(run[side][1] for run in runs))
        for side, name in enumerate(("here", "isolated"))
    }
    for name, (cpu, wall) in took.items():
        print(f"{args.files} files, {name}: {cpu:.2f} s of CPU, {wall:.2f} s")
    cost, wall_cost = (round(took["isolated"][kind] / took["here"][kind] - 1, 3) for kind in (0, 1))
    print(json.dumps({"name": "decoding", "cost": cost, "wall_cost": wall_cost}))


if __name__ == "__main__":
    main()
