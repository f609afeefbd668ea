"""What grows with a corpus, and how: ``python -m benchmarks.scale``.

A real workspace of a few tracks grows to a hundredth, a tenth and the whole of ``--tracks``, with
``--segments`` in all, and at each size the commands of a day are run on it, each as a process of
its own: those with nothing to do, an extraction and a remix of what is new, compactions as a
schedule has them every night, the start of a training, the lineage of a file, the rehearsal of a
forgetting. Each is told with the seconds that it took and the memory of its largest process.

The CPU time of a command, that of its server and workers included, is taken for ``a + b n^e``, and
``e`` is the exponent that the three sizes give: a start of ten seconds shall not hide what comes
after it, and what a process waits for is no growth. What has nothing to do is run three times, and
the least of each figure counts. Where what comes after the start is less than ``NOISE_S`` at the
largest size, there is no exponent to tell. ``worst_exponent`` is the largest, ``worst_noop_s`` the
longest of those with nothing to do at the largest size, ``peak_mib`` the memory of the largest
process of all but training, and ``grown_mib`` the most that any of them took more than at the
smallest size: what is left is what it imports. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.music import CORPUS, FIELDS, MUSIC, write_music
from benchmarks.scaling.growing import Grown
from storage.tables.manifests import Manifests

STEPS, FACTOR = 3, 10
RUNS = 3
NOISE_S = 5.0
TRAINING = "train, one step"
FORGET = "forget --dry-run"


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something a user does.

    Attributes:
        name: what it is.
        arguments: of ``silentmix``, less the workspace.
        is_noop: whether there is nothing to do.
    """

    name: str
    arguments: Sequence[str]
    is_noop: bool = False


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, those of a CPU, and the memory of its largest process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def commands(music: Path, track_url: str) -> list[Command]:
    """What is done at each size, in this order."""
    extract = ("extract", *_options("extract"), "--corpus", CORPUS)
    remix = ("remix", "--remixes-per-segment", "1", "--corpus", CORPUS)
    train = [
        *_options("train"), "--steps", "1", "--validate-every", "1", "--checkpoint-every", "1",
    ]  # fmt: skip
    score = ("score", *_options("score"), "--corpus", CORPUS)
    ingest = ("ingest", "--source", str(music), "--corpus", CORPUS)
    return [
        Command(name="compact what grew", arguments=("compact",)),
        Command(name="extract", arguments=extract),
        Command(name="remix", arguments=remix),
        Command(name="compact what was made", arguments=("compact",)),
        Command(name="ingest, nothing to do", arguments=ingest, is_noop=True),
        Command(name="score, nothing to do", arguments=score, is_noop=True),
        Command(name="extract, nothing to do", arguments=extract, is_noop=True),
        Command(name="remix, nothing to do", arguments=remix, is_noop=True),
        Command(name=TRAINING, arguments=("train", *train, "--force", "--corpora", CORPUS)),
        Command(name="status", arguments=("status",), is_noop=True),
        Command(name="lineage", arguments=("lineage", track_url), is_noop=True),
        Command(name=FORGET, arguments=("forget", track_url, "--dry-run"), is_noop=True),
    ]


def _options(stage: str) -> list[str]:
    """A stage's fields as options, but those that are given anew."""
    told = []
    for name, value in FIELDS[stage].items():
        if name in ("steps", "validate_every", "checkpoint_every"):
            continue
        option = "--" + name.replace("_", "-")
        told += [option] if value is True else [option, str(value)]
    return told


def make(root: Path, tracks: int, segments: int) -> Grown:
    """The real workspace: everything but training was done in it."""
    write_music(root)
    workspace = root / "workspace"
    silentmix(
        root, "run", "--config", str(root / "fields.yaml"), "--workspace", str(workspace),
        "--labelled", str(root / "labelled"), "--unlabelled", str(root / "unlabelled"),
        "--sample-rate", str(MUSIC.sample_rate), "--channels", str(MUSIC.num_channels),
        "--until", "score",
    )  # fmt: skip
    return Grown(workspace, root / "unlabelled", CORPUS, max(1, segments // tracks))


def silentmix(root: Path, *arguments: str) -> Cost:
    """Run a command; raises where it fails, with what it said."""
    started = time.monotonic()
    with (root / "output.log").open("w+b") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments], stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"silentmix {' '.join(arguments)}: {log.read().decode()[-4000:]}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - started, cpu_s, usage.ru_maxrss / 1024)


def exponent(seconds: Sequence[float]) -> float | None:
    """The exponent of growth beside what does not grow, from three sizes."""
    smallest, middle, largest = seconds
    if largest - smallest < NOISE_S:
        return None
    growth = (largest - middle) / max(middle - smallest, NOISE_S / FACTOR**2)
    return math.log(growth, FACTOR) if growth > 0 else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="how the commands of a day grow with a corpus")
    parser.add_argument("--tracks", type=int, default=100_000, help="at the largest size")
    parser.add_argument("--segments", type=int, default=10_000_000, help="of them in all")
    parser.add_argument("--folder", type=Path, help="where the workspace is made, and left")
    args = parser.parse_args(arguments)
    root = args.folder or Path(tempfile.mkdtemp())
    root.mkdir(parents=True, exist_ok=True)
    try:
        found, counts = _measure(root, args.tracks, args.segments)
    finally:
        if not args.folder:
            shutil.rmtree(root)
    exponents = {
        name: exponent([cost.cpu_s for cost in costs]) for name, (_, costs) in found.items()
    }
    _tell(found, counts, exponents)
    noops = [costs[-1].wall_s for is_noop, costs in found.values() if is_noop]
    stages = [costs for name, (_, costs) in found.items() if name != TRAINING]
    peaks = [cost.peak_mib for costs in stages for cost in costs]
    growths = [costs[-1].peak_mib - costs[0].peak_mib for costs in stages]
    known = [value for value in exponents.values() if value is not None]
    result = {
        "name": "scale",
        "tracks": counts[-1][0],
        "segments": counts[-1][1],
        "worst_exponent": round(max(known, default=0.0), 2),
        "worst_noop_s": round(max(noops), 1),
        "peak_mib": round(max(peaks)),
        "grown_mib": round(max(growths)),
    }
    print(json.dumps(result))
    return 0


Costs = dict[str, tuple[bool, list[Cost]]]


def _measure(root: Path, tracks: int, segments: int) -> tuple[Costs, list[tuple[int, int]]]:
    grown = make(root, tracks, segments)
    found: Costs = {}
    counts = []
    for power in reversed(range(STEPS)):
        num_tracks = tracks // FACTOR**power
        grown.grow(num_tracks)
        print(f"{num_tracks} tracks", file=sys.stderr, flush=True)
        for command in commands(grown.music, grown.source_of(num_tracks - 1)):
            arguments = (*command.arguments, "--workspace", str(grown.root))
            runs = [silentmix(root, *arguments) for _ in range(RUNS if command.is_noop else 1)]
            cost = Cost(
                min(run.wall_s for run in runs),
                min(run.cpu_s for run in runs),
                max(run.peak_mib for run in runs),
            )
            found.setdefault(command.name, (command.is_noop, []))[1].append(cost)
            told = f"{cost.wall_s:.1f} s, {cost.cpu_s:.1f} of a CPU, {cost.peak_mib:.0f} MiB"
            print(f"  {command.name}: {told}", file=sys.stderr, flush=True)
        manifests = Manifests(grown.workspace)
        num_segments = manifests.count(manifests.latest("segments", CORPUS))
        counts.append((num_tracks, num_segments))
    return found, counts


def _tell(
    found: Costs, counts: Sequence[tuple[int, int]], exponents: dict[str, float | None]
) -> None:
    told = [
        f"{num_tracks:,} tracks, {num_segments:,} segments" for num_tracks, num_segments in counts
    ]
    print("| | " + " | ".join(told) + " | exponent |")
    print("|---" * (len(counts) + 2) + "|")
    for name, (_, costs) in found.items():
        cells = [f"{cost.wall_s:.1f} s, {cost.peak_mib:.0f} MiB" for cost in costs]
        value = exponents[name]
        print(f"| {name} | {' | '.join(cells)} | {'-' if value is None else f'{value:.2f}'} |")


if __name__ == "__main__":
    sys.exit(main())
