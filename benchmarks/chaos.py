"""Everything goes wrong, one at a time: ``python -m benchmarks.chaos [--quick] [--faults 300]``.

The chain on the smallest music that goes through it, once undisturbed; then each fault from the
workspace as it was before some stage: the command is killed, stopped and interrupted in, before and
after the n-th file it writes; its decoder, its Dask workers, a Dask scheduler of one's own, the
Prefect worker that has its run and its Prefect server are killed; the disk and the scratch fill;
the clock moves; parts, audio, weights, descriptions, checkpoints and ``workspace.json`` are
flipped, cut, emptied and deleted; a bucket fails, stalls, cuts and refuses; two commands run at
once. Then the same command again (and where something was damaged, ``fsck --repair`` and the
commands that it tells), and every row, every byte of audio and all weights are compared with the
undisturbed run.

``--state FOLDER`` keeps what was done, so that the same command goes on with it; what went wrong is
written to ``findings.txt`` there. The last line is JSON; the exit status is 1 if anything was lost,
doubled or different.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

QUICK_S = 200.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="everything goes wrong, one at a time")
    parser.add_argument("--quick", action="store_true", help="five minutes at most")
    parser.add_argument("--faults", type=int, default=300, help="in all, those of before too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="folder; by default a temporary one")
    parser.add_argument("--kinds", nargs="*", default=[], help="names of kinds; all by default")
    args = parser.parse_args(arguments)
    until = time.monotonic() + QUICK_S if args.quick else math.inf
    temporary = nullcontext("") if args.state else tempfile.TemporaryDirectory(prefix="chaos-")
    with temporary as made:
        root = (args.state or Path(made)).absolute()
        root.mkdir(parents=True, exist_ok=True)
        return _run(root, args, until)


def _run(root: Path, args: argparse.Namespace, until: float) -> int:
    from benchmarks.faults.server import Server, free_port

    server = Server(root / "server", free_port())
    _import_everything()
    from benchmarks.faults.course import Course

    try:
        course = Course(root, args.seed, server, quick=args.quick, only=args.kinds)
        try:
            course.prepare()
            course.go_on(args.faults, until)
        finally:
            course.close()
    finally:
        server.kill()
    state = course.state
    print(f"kinds: {state.kinds}")
    result = {
        "name": "chaos",
        "faults": state.faults,
        "kinds": len(state.kinds),
        "lost": state.lost,
        "doubled": state.doubled,
        "different": state.different,
        "tracebacks": state.tracebacks,
        "seed": state.seed,
    }
    print(json.dumps(result))
    return 1 if state.lost or state.doubled or state.different else 0


def _import_everything() -> None:
    """What commands would import, so that those forked from here have it; and no pictures."""
    # as in Dask's worker processes: several threads add in another order
    os.environ["OMP_NUM_THREADS"] = "1"
    from importlib import import_module

    from matplotlib.figure import Figure

    from flows.catalogue import CATALOGUE
    from flows.reports import artifacts, live_plot

    for entry in CATALOGUE:
        import_module(entry.flow.rpartition(".")[0])
    import_module("flows.cli.app")
    import_module("flows.cli.workspace_commands")
    blank = artifacts.png_of(Figure(figsize=(0.1, 0.1)))
    for module in (artifacts, live_plot):
        vars(module)["png_of"] = lambda _: blank


if __name__ == "__main__":
    sys.exit(main())
