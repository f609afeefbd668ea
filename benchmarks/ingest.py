"""Music into canonical audio: ``python -m benchmarks.ingest [--files 200] [--workers 2]``.

A mixed folder (WAV, MP3, FLAC, M4A of 20 to 60 s, at 44.1 and 48 kHz) becomes 16-bit stereo WAV at
44.1 kHz three ways, turn about, each with the same number of processes:

- ``silentmix ingest`` into a new workspace, as a user types it: a Prefect server and Dask workers
  start, decoding may crash, and each file is hashed, measured, printed and told in manifests. What
  that takes for a file a worker is its *fixed* part, the rest is the part that *grows*;
- ``xargs -P2 ffmpeg``, what people do instead;
- the *bare* loop: decode, resample and write with our own decoder, and nothing else.

The last line is JSON: ``ratio`` is how many times faster than xargs the growing part is,
``whole_ratio`` all of it, ``bare_ratio`` the growing part beside the bare loop; ``cpu_ratio`` is
the CPU time of xargs over that of the growing part, which other work on the machine blurs less.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.decoding import CHANNELS, LOCAL, RATE, write_corpus
from storage.decoding.canonical import PreparedAudio, decode_into
from storage.decoding.decode import open_local

RATES = (44_100, 48_000)
FFMPEG = (
    'ffmpeg -nostdin -loglevel error -i "$0" -vn -ar {rate} -ac {channels} -c:a pcm_s16le '
    '"{target}/$(basename "$0").wav"'
)


@dataclass(frozen=True, kw_only=True)
class Took:
    """What something took: seconds of a clock, and of the CPU."""

    wall_s: float
    cpu_s: float

    def __sub__(self, other: Took) -> Took:
        return Took(wall_s=self.wall_s - other.wall_s, cpu_s=self.cpu_s - other.cpu_s)


def ingested(paths: Sequence[Path], target: Path, workers: int, batch_files: int = 16) -> None:
    """As a user does it."""
    listed = target / "files.txt"
    listed.write_text("".join(f"{path}\n" for path in paths))
    words = ["ingest", "--workspace", str(target / "workspace"), "--source", str(listed)]
    words += ["--workers", str(workers), "--batch-files", str(batch_files)]
    command = [sys.executable, "-m", "flows.cli", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def by_xargs(paths: Sequence[Path], target: Path, workers: int) -> None:
    """With one ffmpeg a file."""
    script = FFMPEG.format(rate=RATE, channels=CHANNELS, target=target)
    command = ["xargs", "-0", f"-P{workers}", "-n1", "sh", "-c", script]
    subprocess.run(command, input=b"\0".join(bytes(path) for path in paths), check=True)


def bare(paths: Sequence[Path], target: Path, workers: int) -> None:
    """Nothing but what has to be done."""
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_decoded, paths, [target] * len(paths)))


def _decoded(path: Path, target: Path) -> None:
    with tempfile.TemporaryFile() as scratch, open_local(LOCAL, str(path)) as file:
        audio = PreparedAudio(scratch, RATE, CHANNELS)
        for _ in decode_into(audio, file):
            pass
        with (target / f"{path.name}.wav").open("wb") as output:
            audio.write_wav(output)


def measured(work: Callable[[Path], None]) -> Took:
    """What it takes, with a folder that is empty before and gone after."""
    with tempfile.TemporaryDirectory() as target:
        cpu_before, started = _cpu_s(), time.perf_counter()
        work(Path(target))
        return Took(wall_s=time.perf_counter() - started, cpu_s=_cpu_s() - cpu_before)


def _cpu_s() -> float:
    """Of all processes that this one began and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="ingest beside xargs and ffmpeg")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(arguments)
    if shutil.which("ffmpeg") is None:
        parser.error("no ffmpeg to compare with on PATH; install it")

    with tempfile.TemporaryDirectory() as folder:
        paths = write_corpus(Path(folder), args.files, RATES)
        ways: dict[str, Callable[[Path], None]] = {
            "ingest": partial(ingested, paths, workers=args.workers),
            "ingest of a file a worker": partial(
                ingested, paths[: args.workers], workers=args.workers, batch_files=1
            ),
            "xargs ffmpeg": partial(by_xargs, paths, workers=args.workers),
            "bare loop": partial(bare, paths, workers=args.workers),
        }
        rounds = [[measured(way) for way in ways.values()] for _ in range(args.rounds)]
    quickest = [min(took, key=lambda each: each.wall_s) for took in zip(*rounds, strict=True)]
    for name, took in zip(ways, quickest, strict=True):
        print(f"{args.files} files, {name}: {took.wall_s:.1f} s, {took.cpu_s:.1f} s of CPU")
    whole, fixed, peer, loop = quickest
    growing = whole - fixed
    print(
        json.dumps({
            "name": "ingest",
            "ratio": round(peer.wall_s / growing.wall_s, 2),
            "whole_ratio": round(peer.wall_s / whole.wall_s, 2),
            "bare_ratio": round(loop.wall_s / growing.wall_s, 2),
            "cpu_ratio": round(peer.cpu_s / growing.cpu_s, 2),
            "fixed_s": round(fixed.wall_s, 1),
            "growing_s": round(growing.wall_s, 1),
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
