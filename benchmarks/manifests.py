"""Manifests against gzipped JSON lines: ``python -m benchmarks.manifests``.

Ten million recipes (``--rows``), the largest of all rows, as ``remix`` writes them; and the same
rows as JSON lines in gzip, a file a part, as lhotse keeps its cuts. Then both are asked the same:
how many sure recipes are there with drums silent, and how many samples have they? The manifest is
asked in SQL, as ``silentmix manifests query`` does it; the lines are read with Python's ``json``.
Both answers must be equal. ``ratio`` is how many times faster the manifest answers (the median of
three times), ``size_ratio`` how many times smaller it is. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.loading.recipes import write_recipes
from storage.tables.manifests import Manifests, Partition
from storage.tables.sql import reading
from storage.workspace import Workspace

CORPUS = "music"
SURE, SOURCE = 0.95, "drums"
REPEATS = 3
LEVEL = 6
"""Of gzip's compression: what its command takes."""
Answer = tuple[int, float]


def write_lines(manifests: Manifests, partition: Partition, folder: Path) -> None:
    """Write the rows of a partition as gzipped JSON lines, a file a part."""
    folder.mkdir()
    by_part = itertools.groupby(manifests.row_groups(partition), lambda group: group.path)
    for part, groups in by_part:
        path = folder / f"{Path(part).stem}.jsonl.gz"
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=LEVEL) as lines:
            for group in groups:
                for row in manifests.read_row_group(group):
                    lines.write(json.dumps(row, separators=(",", ":")) + "\n")


def ask_lines(folder: Path) -> Answer:
    """The answer from JSON lines."""
    count, num_samples = 0, 0
    for path in sorted(folder.iterdir()):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if row["confidence"] >= SURE and SOURCE in row["silent_sources"]:
                    count += 1
                    num_samples += row["stop_sample"] - row["start_sample"]
    return count, float(num_samples)


def ask_manifest(workspace: Workspace) -> Answer:
    """The answer from the manifest."""
    with reading(workspace, ("remixes",)) as database:
        found = database.execute(
            "SELECT count(*), sum(stop_sample - start_sample) FROM remixes "
            "WHERE confidence >= $sure AND list_contains(silent_sources, $source)",
            {"sure": SURE, "source": SOURCE},
        ).fetchall()
    [(count, num_samples)] = found
    return int(count), float(num_samples)


def timed(ask: Callable[[], Answer], repeats: int) -> tuple[Answer, float]:
    """What is answered, and the median of the seconds that it takes."""
    walls = []
    for _ in range(repeats):
        started = time.perf_counter()
        answer = ask()
        walls.append(time.perf_counter() - started)
    return answer, statistics.median(walls)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="manifests against gzipped JSON lines")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where both are written; it must be there")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        workspace = Workspace(f"{folder}/workspace", create=True)
        partition = Partition("remixes", CORPUS, "f0123456789ab")
        manifests = Manifests(workspace)
        write_recipes(workspace, partition, args.rows)
        write_lines(manifests, partition, Path(folder) / "lines")
        ours, our_wall = timed(lambda: ask_manifest(workspace), REPEATS)
        theirs, their_wall = timed(lambda: ask_lines(Path(folder) / "lines"), 1)
        if ours != theirs:
            raise RuntimeError(f"the manifest answers {ours}, the lines {theirs}")
        our_bytes = size(Path(folder) / "workspace" / "manifests")
        their_bytes = size(Path(folder) / "lines")
    print(f"{args.rows:,} recipes, of which {ours[0]:,} are asked for")
    print("| | seconds to answer | bytes a recipe |")
    print("|---|---|---|")
    print(f"| manifest | {our_wall:.2f} | {our_bytes / args.rows:.1f} |")
    print(f"| gzipped JSON lines | {their_wall:.2f} | {their_bytes / args.rows:.1f} |")
    result = {
        "name": "manifests",
        "rows": args.rows,
        "ratio": round(their_wall / our_wall, 1),
        "size_ratio": round(their_bytes / our_bytes, 2),
    }
    print(json.dumps(result))
    return 0


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
