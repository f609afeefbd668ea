"""Command line: ``python -m demo_corpus --out DIR --seed 7``."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

from demo_corpus.composition import SHORTEST_S
from demo_corpus.corpus import write_labelled, write_unlabelled
from demo_corpus.palette import POOLS, pool
from demo_corpus.sampler import SAMPLE_RATE
from demo_corpus.splits import MUSDB, SPLITS
from demo_corpus.spreading import over_processes


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folders labelled, unlabelled and truth into another."""
    names = [known.name for known in POOLS]
    parser = argparse.ArgumentParser(prog="python -m demo_corpus", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=7, help="which songs (default: 7)")
    parser.add_argument("--train", type=_count, default=14, help="labelled training songs")
    parser.add_argument("--valid", type=_count, default=5, help="labelled validation songs")
    parser.add_argument("--test", type=_count, default=5, help="labelled test songs")
    parser.add_argument("--songs", type=_count, default=24, help="unlabelled songs")
    parser.add_argument("--labelled-seconds", type=_seconds, default=40.0, help="longest song")
    parser.add_argument("--unlabelled-seconds", type=_seconds, default=60.0, help="longest song")
    parser.add_argument("--labelled-instruments", choices=names, default="all")
    parser.add_argument("--unlabelled-instruments", choices=names, default="all")
    parser.add_argument("--split", choices=SPLITS, default=MUSDB.name, help="stems to write")
    parser.add_argument("--sample-rate", type=int, default=SAMPLE_RATE, help="of all songs, in Hz")
    parser.add_argument("--mono", action="store_true", help="write the labelled songs in mono")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    with over_processes(max(1, options.processes)) as spread:
        folders = write_labelled(
            options.out / "labelled",
            seed=options.seed,
            num_train=options.train,
            num_valid=options.valid,
            num_test=options.test,
            duration_s=options.labelled_seconds,
            instruments=pool(options.labelled_instruments),
            split=SPLITS[options.split],
            sample_rate=options.sample_rate,
            num_channels=1 if options.mono else 2,
            map=spread,
        )
        files = write_unlabelled(
            options.out / "unlabelled",
            seed=options.seed,
            num_songs=options.songs,
            duration_s=options.unlabelled_seconds,
            instruments=pool(options.unlabelled_instruments),
            split=SPLITS[options.split],
            sample_rate=options.sample_rate,
            leaked=folders[-1] / "mixture.wav" if options.test else None,
            map=spread,
        )
    print(f"{len(folders)} labelled songs, {len(files)} unlabelled files in {options.out}")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of songs, 0 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST_S <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a duration of {SHORTEST_S:g} s or more")
    return seconds


if __name__ == "__main__":
    main()
