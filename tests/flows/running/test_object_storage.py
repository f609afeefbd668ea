"""Stages in a bucket: what is done is not asked for again, and a store that fails loses nothing."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.overview import print_status
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import Finished
from tests.flows.running.grown import Grown
from tests.storage.s3_server import Store, s3_store

pytestmark = pytest.mark.s3

NUM_MORE = 7
NUM_PARTS = 5 + NUM_MORE
ALWAYS = 140
"""Requests of a run, whatever there is: listings, descriptions, and what earlier runs recorded."""
A_PART = 18
"""Requests of a run for each part that it makes."""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with s3_store() as store:
        yield store


@pytest.fixture(scope="module")
def here(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    root = tmp_path_factory.mktemp("here") / "workspace"
    shutil.copytree(finished.workspace.root, root)
    grown = Grown(str(root), finished)
    grown.grow(NUM_MORE)
    return grown


@pytest.fixture(scope="module")
def bucket(finished: Finished, here: Grown, store: Store) -> Grown:
    root = f"{store.url}/workspace"
    Workspace.check(root, create=True).fs.put(f"{here.root}/", f"{root}/", recursive=True)
    return Grown(root, finished)


def test_a_run_asks_a_few_times_a_part_and_its_rerun_for_none(
    bucket: Grown, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stages = (bucket.score, bucket.extract, bucket.remix)
    for stage in stages:
        store.requests.clear()
        assert not stage().already_done
        assert store.count() <= ALWAYS + A_PART * NUM_PARTS
    for stage in stages:
        store.requests.clear()
        assert stage().already_done
        assert store.count() <= ALWAYS
        assert store.asked_for("/part-") <= store.asked_for("manifests/runs/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # another machine
    store.requests.clear()
    assert bucket.extract().already_done
    assert store.asked_for("manifests/scores/") == store.asked_for("manifests/segments/")
    assert store.asked_for("manifests/scores/") == NUM_PARTS


def test_status_asks_for_no_part_twice(bucket: Grown, store: Store) -> None:
    print_status(bucket.root, Console(file=io.StringIO()))
    store.requests.clear()
    print_status(bucket.root, Console(file=io.StringIO()))
    assert store.asked_for("/part-") == 0


def test_files_that_are_unchanged_cost_a_listing(bucket: Grown, store: Store) -> None:
    fs, music = bucket.workspace.fs, f"{store.url}/collection"
    fs.put(str(bucket.finished.parameters.unlabelled) + "/", f"{music}/", recursive=True)
    parameters = IngestParameters(workspace=bucket.root, source=music, corpus="far")
    assert not ingest(parameters).already_done
    store.requests.clear()
    assert ingest(parameters).already_done
    asked = [name for name in store.requests.elements() if " collection" in name]
    assert sum(name.startswith("LIST") for name in asked) <= 3
    assert set(asked) <= {
        "HEAD collection", "HEAD collection/workspace.json", "LIST collection/",
        "LIST collection/workspace.json/",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "share"), [("503", 0.1), ("closed", 0.1), ("cut", 0.1), ("stall", 0.05)]
)
def test_a_store_that_fails_now_and_then_loses_nothing(
    bucket: Grown, here: Grown, store: Store, fault: str, share: float
) -> None:
    least_s = {"503": 1.1, "closed": 1.2, "cut": 1.3, "stall": 1.4}[fault]
    for grown in (here, bucket):
        grown.score()
    expected = here.extract(least_s)
    with store.failing(fault, share):
        found = bucket.extract(least_s)
    assert store.struck > 2
    assert found.fingerprint == expected.fingerprint
    assert bucket.rows("segments", found) == here.rows("segments", expected)
    segments = Partition("segments", "music", found.fingerprint)
    assert len(Manifests(bucket.workspace).parts(segments)) == NUM_PARTS
