"""Much, often and at once: ``python -m benchmarks.load [--tracks 1000000] [--queries 200] …``.

Four loads on a small real workspace:

*queries*: 200 processes of ``silentmix manifests query`` at once, or as many of them as the memory
holds. All must give the answer that one gives that is asked alone. *runs*: a thousand extractions
in one process, on one Dask worker, each of which makes everything anew; what both hold more at the
end than after the first tenth, and what a run takes then and now. *day*: a service as ``silentmix
up`` stands it up, whose schedule ingests 24 times, an hour being ``--hour-s`` seconds; files arrive
every sixth hour, and scoring and extraction follow by themselves. Its workers and its server tell
their memory after the first quarter and at the end. *planning*: the rows of a million tracks in
parts as ``ingest --batch-files`` leaves them; then what a person asks of them, and the rehearsal of
a scoring, which tells what there is to do.

The last line is JSON. The exit status is 1 if a query gave another answer or a run of the day
failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults.music import CORPUS
from benchmarks.soaking.day import simulated_day
from benchmarks.soaking.many_runs import many_runs
from storage.tables.manifests import Manifests
from storage.tables.schemas import TRACKS
from storage.workspace import Workspace, track_path

QUERY = "SELECT count(*) AS tracks, sum(duration_s) AS seconds FROM tracks"
QUERY_BYTES = 128 * 2**20
"""Of memory for each that is asked at once; it takes about 100 MiB."""

Figures = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="much, often and at once")
    parser.add_argument("--tracks", type=int, default=1_000_000, help="to plan; 0 leaves it out")
    parser.add_argument("--batch-files", type=int, default=256, help="tracks in a part of them")
    parser.add_argument("--queries", type=int, default=200, help="at once; 0 leaves them out")
    parser.add_argument("--runs", type=int, default=1000, help="in one process; 0 leaves them out")
    parser.add_argument("--hour-s", type=float, default=30.0, help="of the day; 0 leaves it out")
    args = parser.parse_args(arguments)
    from benchmarks.scale import make  # which imports Prefect; what is spawned below must not

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        workspace = make(root, 1, 1).root
        found: Figures = {}
        if args.queries:
            found |= _queries(workspace, args.queries)
        if args.runs:
            found |= _elsewhere(many_runs, root, workspace, args.runs)
        if args.hour_s:
            found |= _elsewhere(simulated_day, root, workspace, args.hour_s)
        if args.tracks:
            found |= _planning(root, workspace, args.tracks, args.batch_files)
    for name, value in found.items():
        print(f"{name}: {value}")
    print(json.dumps({"name": "load", **found}))
    return 1 if found.get("queries_failed") or found.get("day_not_completed") else 0


def _planning(root: Path, workspace: Path, tracks: int, batch_files: int) -> Figures:
    """Add tracks to the corpus, and look at them."""
    from benchmarks.scale import silentmix

    started = time.monotonic()
    write_tracks(Manifests(Workspace(str(workspace))), CORPUS, tracks, batch_files)
    found: Figures = {
        "tracks": tracks,
        "batch_files": batch_files,
        "tracks_written_s": round(time.monotonic() - started, 1),
    }
    commands = {
        "query": ("manifests", "query", QUERY),
        "status": ("status",),
        "plan": ("score", "--corpus", CORPUS, "--dry-run"),
    }
    for name, command in commands.items():
        cost = silentmix(root, *command, "--workspace", str(workspace))
        found |= {f"{name}_s": round(cost.wall_s, 1), f"{name}_mib": round(cost.peak_mib)}
    return found


def write_tracks(manifests: Manifests, corpus: str, tracks: int, a_part: int) -> None:
    """Add rows to the ``tracks`` of a corpus: like its first one, of other files.

    Args:
        manifests: of the workspace.
        corpus: one that was ingested.
        tracks: how many.
        a_part: how many at once.
    """
    from storage.fingerprint import ID_DIGITS

    partition = manifests.latest(TRACKS.name, corpus)
    like = next(manifests.rows(partition))
    for first in range(0, tracks, a_part):
        rows = []
        for number in range(first, min(first + a_part, tracks)):
            content_hash = hashlib.sha256(f"track {number}".encode()).hexdigest()
            track_id = content_hash[:ID_DIGITS]
            rows.append({
                **like, "track_id": track_id, "content_hash": content_hash,
                "path": track_path(corpus, track_id),
                "source_url": f"/music/{number // 1000:04d}/{number:07d}.wav",
            })  # fmt: skip
        manifests.write(partition, [row["source_url"] for row in rows], rows)


def _queries(workspace: Path, queries: int) -> Figures:
    """Ask the same of many processes at once."""
    command = [sys.executable, "-m", "flows.cli", "manifests", "query", QUERY]
    command += ["--workspace", str(workspace)]
    started = time.monotonic()
    right = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    alone_s, started = time.monotonic() - started, time.monotonic()

    def is_wrong(_: int) -> bool:
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        return answer.returncode != 0 or answer.stdout != right

    at_once = max(1, min(queries, psutil.virtual_memory().available // QUERY_BYTES))
    with ThreadPoolExecutor(at_once) as asking:
        wrong = sum(asking.map(is_wrong, range(queries)))
    wall_s = time.monotonic() - started
    return {
        "queries": queries,
        "queries_at_once": at_once,
        "queries_failed": wrong,
        "query_alone_s": round(alone_s, 1),
        "queries_s": round(wall_s, 1),
    }


def _elsewhere(
    work: Callable[[Path, Any], Figures], root: Path, workspace: Path, amount: float
) -> Figures:
    """Work in a process of its own, which has not imported Prefect."""
    file = root / "figures.json"
    arguments = (work, file, workspace, amount)
    process = multiprocessing.get_context("spawn").Process(target=_write_down, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{work.__name__} failed")
    figures: Figures = json.loads(file.read_text())
    return figures


def _write_down(
    work: Callable[[Path, Any], Figures], file: Path, workspace: Path, amount: float
) -> None:
    file.write_text(json.dumps(work(workspace, amount)))


if __name__ == "__main__":
    sys.exit(main())
