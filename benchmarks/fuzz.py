"""Files, tables and texts that strangers could send: ``python -m benchmarks.fuzz [--quick]``.

Mutations of real files go through the product's own readers: music in some thirty containers and
codecs through the process that decodes them; parts of manifests; detectors and models (their
weights' headers and descriptions); YAML, museval's JSON, lists and playlists, parameters of runs,
SQL. What the product says of a case decides whether others are made of it, so the cases find their
way past the first check. Each is tried in a process that may die.

A *crash* is whatever loses more than the one file: an error that is not the product's own, a
process that ends, a reader that goes on with wrong rows. A decoder that dies of a file and is
replaced is none. A *hang* takes longer than every limit. An *escape* opens a file outside the
workspace (a sentinel is watched by the kernel), writes elsewhere, starts a program or reaches a
port.

``--state FOLDER`` keeps what was done, so that the same command goes on with it; findings lie there
as files, and ``--replay FILE --targets NAME`` tries one again. The last line is JSON; the exit
status is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzzing.course import Course, State
from benchmarks.fuzzing.worker import TARGETS

QUICK_S, QUICK_SHARE, SHARE = 240.0, 30, 100
MOST_SAID = 8


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="what strangers could send")
    parser.add_argument("--quick", action="store_true", help="five minutes at most")
    parser.add_argument("--cases", type=int, default=100_000, help="in all, those of before too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="folder; by default a temporary one")
    names = [kind.name for kind in TARGETS]
    parser.add_argument("--targets", nargs="*", choices=names, default=[])
    parser.add_argument("--replay", type=Path, help="a finding, to be tried again here")
    args = parser.parse_args(arguments)
    logging.disable()  # what is refused is told to nobody
    if args.replay:
        return _replay(args.replay, args.targets)
    begun = time.monotonic()

    def enough(state: State) -> bool:
        return state.cases >= args.cases or (args.quick and time.monotonic() - begun > QUICK_S)

    with tempfile.TemporaryDirectory(prefix="silentmix-fuzz-") as temporary:
        folder = (args.state or Path(temporary)).absolute()
        course = Course(folder, args.seed, args.targets)
        try:
            course.go_on(enough, QUICK_SHARE if args.quick else SHARE)
        finally:
            course.close()
    state = course.state
    for target in course.targets:
        said = state.said.get(target, {})
        print(f"{target}: {state.next_case.get(target, 0)} cases, {len(said)} kinds of answers, "
              f"the slowest {state.slowest_s.get(target, 0.0):.1f} s")  # fmt: skip
        for text, count in list(said.items())[:MOST_SAID]:
            print(f"  {count:7} {text}")
    counts = {name: getattr(state, name) for name in ("cases", "crashes", "hangs", "escapes")}
    print(json.dumps({"name": "fuzz", **counts, "seed": state.seed}))
    return 1 if state.crashes or state.hangs or state.escapes else 0


def _replay(case: Path, targets: Sequence[str]) -> int:
    """Try one case in this process, and show what comes of it."""
    with tempfile.TemporaryDirectory(prefix="silentmix-fuzz-") as folder:
        for kind in TARGETS:
            if kind.name in targets:
                target = kind(Path(folder) / kind.name)
                print(kind.name, target.run(case.read_bytes(), random.Random(0)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
