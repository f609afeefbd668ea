"""``python -m demo_corpus OUT``: write the demo's corpus alone."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from demo_corpus.corpus import write_demo
from demo_corpus.palette import ALL, POOLS


def main() -> None:
    """Write ``OUT/labelled``, ``OUT/unlabelled`` and ``OUT/truth.parquet``."""
    parser = argparse.ArgumentParser(prog="python -m demo_corpus", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--train", type=int, default=12, help="labelled songs to train on")
    parser.add_argument("--valid", type=int, default=14, help="labelled songs held out")
    parser.add_argument("--test", type=int, default=4, help="labelled songs to evaluate on")
    parser.add_argument("--unlabelled", type=int, default=24, help="unlabelled songs")
    parser.add_argument("--seconds", type=float, default=40.0, help="length of a song")
    parser.add_argument("--instruments", choices=[p.name for p in POOLS], default=ALL.name)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        write_demo(
            arguments.out,
            seed=arguments.seed,
            num_train=arguments.train,
            num_valid=arguments.valid,
            num_test=arguments.test,
            num_unlabelled=arguments.unlabelled,
            duration_s=arguments.seconds,
            instruments=arguments.instruments,
            map=processes.map,
        )


if __name__ == "__main__":
    main()
