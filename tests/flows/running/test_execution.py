from __future__ import annotations

import os
import threading
from pathlib import Path

import distributed
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import flow
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.runtime import task_run
from prefect.states import Suspended

from flows.running import execution
from flows.running.execution import dask_client, pending_batches, run_batches
from flows.running.parameters import StageParameters
from flows.running.progress import progress
from storage.errors import UserError
from tests.flows.conftest import worker_processes

MAX_RETRIES = 2
MAX_TASK_RUNS = 5
names = st.lists(st.text(alphabet="abcdef", min_size=1, max_size=3), unique=True, max_size=20)


@given(names, st.sets(st.text(alphabet="abcdef", min_size=1, max_size=3)), st.integers(1, 5))
def test_pending_batches_cover_what_is_left_once(
    items: list[str], done: set[str], size: int
) -> None:
    batches = pending_batches(items, done, size, str)
    assert [item for batch in batches for item in batch] == [i for i in items if i not in done]
    assert all(0 < len(batch) <= size for batch in batches)


@given(names, st.integers(1, 5), st.integers(0, 5))
def test_a_continued_run_makes_the_batches_the_killed_one_would_have(
    items: list[str], size: int, num_done: int
) -> None:
    whole = pending_batches(items, set(), size, str)
    done = {item for batch in whole[:num_done] for item in batch}
    assert pending_batches(items, done, size, str) == whole[num_done:]


@pytest.fixture(autouse=True)
def few_task_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than in use, where a hundred would take a second each time and prove no more."""
    monkeypatch.setattr(execution, "MAX_TASK_RUNS", MAX_TASK_RUNS)


@pytest.fixture
def client(one_worker: distributed.Client) -> distributed.Client:
    return one_worker


def fail_sometimes(
    client: distributed.Client, folder: Path, failures: int, num_batches: int = 3
) -> list[int]:
    """Run batches of which number 1 fails ``failures`` times; returns the results there were."""
    found = []

    def work(number: int) -> int:
        attempt = len(list(folder.glob(f"{number}-*")))
        (folder / f"{number}-{attempt}").touch()
        if number == 1 and attempt < failures:
            raise OSError("the disk blinked")
        return number

    @flow
    def run() -> None:
        with progress("fail-sometimes", num_batches, "batches") as bar:
            for result in run_batches(client, work, range(num_batches), bar):
                found.append(result)  # noqa: PERF402  what comes before an error counts

    if failures > MAX_RETRIES:
        with pytest.raises(OSError, match="the disk blinked"):
            run()
    else:
        run()
    return found


def test_results_come_in_order_from_few_task_runs(client: distributed.Client) -> None:
    numbers, task_runs = list(range(100)), set()

    def size(_: int) -> float:
        task_runs.add(task_run.id)
        return 1.0

    @flow
    def squares() -> list[int]:
        with progress("squares", len(numbers), "batches") as bar:
            return list(run_batches(client, lambda number: number**2, numbers, bar, size))

    assert squares() == [number**2 for number in numbers]
    assert len(task_runs) == MAX_TASK_RUNS


def test_a_result_is_handed_on_before_the_others_of_its_task_run_are_there(
    client: distributed.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is kept then, whatever becomes of the rest."""
    monkeypatch.setattr(execution, "MAX_TASK_RUNS", 1)
    is_kept = distributed.Event("first is kept", client)

    def work(number: int) -> tuple[int, bool]:
        return number, number == 0 or distributed.Event("first is kept").wait(timeout=20)

    @flow
    def run() -> list[tuple[int, bool]]:
        found = []
        with progress("hand-on", 2, "batches") as bar:
            for result in run_batches(client, work, range(2), bar):
                found.append(result)
                is_kept.set()
        return found

    assert run() == [(0, True), (1, True)]


def test_a_batch_that_fails_once_is_tried_again(client: distributed.Client, tmp_path: Path) -> None:
    assert fail_sometimes(client, tmp_path, failures=1) == [0, 1, 2]


@pytest.mark.parametrize("num_batches", [3, 2 * MAX_TASK_RUNS])
def test_a_batch_that_fails_for_good_lets_the_others_finish(
    client: distributed.Client, tmp_path: Path, num_batches: int
) -> None:
    found = fail_sometimes(client, tmp_path, failures=99, num_batches=num_batches)
    assert found == [0, *range(2, num_batches)]


def test_what_is_done_is_not_done_again_with_what_failed(
    client: distributed.Client, tmp_path: Path
) -> None:
    num_batches = 2 * MAX_TASK_RUNS  # two in a task run, which is what Prefect tries again
    found = fail_sometimes(client, tmp_path, failures=1, num_batches=num_batches)
    assert found == list(range(num_batches))
    assert len(list(tmp_path.iterdir())) == num_batches + 1


def test_a_paused_run_begins_few_more_batches(client: distributed.Client, tmp_path: Path) -> None:
    num_batches = 200

    def work(number: int) -> int:
        (tmp_path / str(number)).touch()
        return number

    @flow
    def squares() -> None:
        suspension = FlowRunContext.get().flow_run_suspension_request  # type: ignore[union-attr]
        with progress("squares", num_batches, "batches") as bar:
            for _ in run_batches(
                client, work, range(num_batches), bar,
                lambda _: suspension.mark_requested(Suspended()) or 1.0,
            ):  # fmt: skip
                pass

    with pytest.raises(Pause):
        squares()
    assert 0 < len(list(tmp_path.iterdir())) < num_batches


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.running.execution.CONNECT_TIMEOUT_S", 0.2)
    parameters = StageParameters(dask_address="tcp://127.0.0.1:1")

    with (
        worker_processes(),
        pytest.raises(UserError, match="no Dask scheduler answers"),
        dask_client(parameters),
    ):
        pass


def test_a_scheduler_that_goes_away_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And that no worker is there yet is said, where nothing was."""
    monkeypatch.setattr(execution, "CONNECT_TIMEOUT_S", 0.5)

    @flow
    def work() -> None:
        with (
            worker_processes(),
            dask_client(StageParameters(dask_address=cluster.scheduler_address)) as client,
            progress("lost", 3, "batches") as bar,
        ):
            threading.Thread(target=cluster.close).start()
            list(run_batches(client, abs, [-1, -2, -3], bar))

    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        pytest.raises(UserError, match="dask_address: the Dask scheduler there was lost"),
    ):
        work()
    assert f"has some: start one with `dask worker {cluster.scheduler_address}`" in caplog.text


def is_profiled(dask_worker: distributed.Worker) -> bool:
    return "profile" in dask_worker.periodic_callbacks


def test_batches_fail_where_no_worker_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask gives a worker up that is killed while it starts; without an end the run would wait.

    Its environment lets torch keep memory, as does that of what this process starts after it; and
    nothing looks at its threads, which stopped workers on Python 3.11 now and then.
    """
    monkeypatch.setattr(execution, "NO_WORKERS_S", 0.5)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)

    @flow
    def work() -> None:
        with (
            worker_processes(),
            dask_client(StageParameters(workers=1)) as local,
            progress("lost", 1, "batches") as bar,
        ):
            cluster = local.cluster
            assert cluster is not None
            assert set(local.run(os.getenv, "MALLOC_TRIM_THRESHOLD_").values()) == {None}
            assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
            assert set(local.run(is_profiled).values()) == {False}
            cluster.scale(0)
            cluster.sync(cluster._correct_state)
            list(run_batches(local, abs, [-1], bar))

    with pytest.raises(distributed.scheduler.NoWorkerError):
        work()
