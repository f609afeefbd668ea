"""Draw recipes from a workspace, and tell what it took; a process for ``benchmarks.loader``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.loader import REMIXES
from flows.inputs.recipes import RecipeTable
from storage.local_cache import LocalCache, cache_folder
from storage.workspace import Workspace

DRAWS = 2000


def _peak_mib() -> float:
    """The most memory that this process had so far."""
    [line] = [row for row in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in row]
    return int(line.split()[1]) / 1024


def main(root: str) -> None:
    workspace = Workspace(f"{root}/workspace")
    before_mib, begun, worked = _peak_mib(), time.perf_counter(), time.process_time()
    table = RecipeTable(workspace, {REMIXES: ""}, LocalCache(cache_folder("training"), 2**36))
    started, cpu_s = time.perf_counter(), time.process_time() - worked
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        source = int(rng.integers(len(table.sizes)))
        groups = int(rng.integers(len(table.sizes[source])))
        table.recipe(source, groups, int(rng.integers(table.sizes[source][groups])))
    told = {
        "start_s": started - begun,
        "start_cpu_s": cpu_s,
        "draw_ms": 1000 * (time.perf_counter() - started) / DRAWS,
        "extra_mib": _peak_mib() - before_mib,
    }
    print(json.dumps({name: round(value, 3) for name, value in told.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
