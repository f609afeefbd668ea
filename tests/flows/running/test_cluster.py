"""Stages at a scheduler that is there already, with workers that are processes and may die."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.clusters import Cluster
from tests.flows.conftest import Finished, worker_processes
from tests.flows.running.grown import Grown

NUM_MORE = 10


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "cluster.txt", num_workers=2)
    yield made
    made.close()


def grown(finished: Finished, root: Path, dask_address: str = "") -> Grown:
    shutil.copytree(finished.workspace.root, root)
    made = Grown(str(root), finished, dask_address)
    made.grow(NUM_MORE)
    return made


def kill_at_first_part(cluster: Cluster, folder: Path) -> threading.Thread:
    """SIGKILL for a worker, and what looks after it, once the stage has written something."""
    before = set(folder.rglob("*.parquet"))

    def strike() -> None:
        while not set(folder.rglob("*.parquet")) - before:
            time.sleep(0.01)
        os.killpg(cluster.workers[0].pid, signal.SIGKILL)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    return thread


def test_stages_end_with_the_same_rows_though_a_worker_is_killed(
    finished: Finished, cluster: Cluster, tmp_path: Path
) -> None:
    here = grown(finished, tmp_path / "here")
    there = grown(finished, tmp_path / "there", cluster.address)
    stages = {"scores": Grown.score, "segments": Grown.extract, "remixes": Grown.remix}
    expected = {table: here.rows(table, stage(here)) for table, stage in stages.items()}
    strike = kill_at_first_part(cluster, Path(there.root) / "manifests/scores")
    with worker_processes():
        found = {table: there.rows(table, stage(there)) for table, stage in stages.items()}
    strike.join(timeout=0)
    assert [worker.poll() for worker in cluster.workers] == [-signal.SIGKILL, None]
    assert found == expected
    assert all(expected.values())
