"""Batches on Dask under a handful of Prefect task runs.

Prefect sees groups of batches, at most :data:`MAX_TASK_RUNS` a stage; Dask sees the batches; a
batch holds tens of tracks. So a hundred thousand tracks cost a hundred task runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import dask
import distributed
from distributed.scheduler import NoValidWorkerError
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import TagsContext
from prefect.exceptions import MissingContextError
from prefect.futures import wait
from prefect.logging import get_run_logger

from flows.running.dividing import do_alone
from flows.running.parameters import WorkParameters
from flows.running.pausing import heed_pause
from flows.running.progress import StageProgress, progress
from storage.errors import UserError

MAX_TASK_RUNS = 100
CONNECT_TIMEOUT_S = 20
TRIM = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"
"""What Dask puts into the environment, of this process too: memory that is let go goes back to the
kernel at once. torch asks for it again in every layer, so that a step takes 2.5 times as long."""
PROFILE = "distributed.worker.profile.enabled"
"""Dask looks at the stacks of its workers' threads a hundred times a second, which nobody asks for
here, and with Python 3.11 that stops the whole process for good, now and then: the interpreter may
collect garbage meanwhile, and waits for a lock that it holds."""
ALLOWED_DEATHS = 0
"""Of local workers on a batch, before it is tried alone. Dask would give it to the next worker at
once, and does not start one again that dies while it starts."""
SCHEDULER_LOST = (distributed.client.ClosedClientError, distributed.client.FutureCancelledError)
"""What comes of batches where a scheduler elsewhere went away for :data:`CONNECT_TIMEOUT_S`."""
NO_WORKERS_S = 120
"""How long batches wait for a local worker that was killed, and that Dask failed to start again."""
GIVEN_UP_AFTER = "365 days"
"""Dask looks so long after a worker's death whether it lives, and gives up one that is not there.

It is started again at once; but one that has just died once more is not there either.
"""

Batch = TypeVar("Batch")
Result = TypeVar("Result")
Item = TypeVar("Item")

_shared: ContextVar[distributed.Client | None] = ContextVar("silentmix_dask", default=None)


@dataclass
class _Group(Generic[Batch, Result]):
    """Batches of one task run, and by their places what came of them, which a retry keeps.

    Attributes:
        batches: all of them.
        done: their results, until they are handed on.
        handed_on: of so many of the first batches the results were.
        killed: given up, since their worker died.
        strayed: those whose workers were gone before they began, once.
        is_over: the task run has ended.
    """

    batches: Sequence[Batch]
    done: dict[int, list[Result]] = field(default_factory=dict)
    handed_on: int = 0
    killed: set[int] = field(default_factory=set)
    strayed: set[int] = field(default_factory=set)
    is_over: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def pending(self) -> list[int]:
        """Which are neither done nor given up."""
        with self._changed:
            rest = range(self.handed_on, len(self.batches))
            return [place for place in rest if place not in self.done and place not in self.killed]

    def finish(self, place: int, result: Result) -> None:
        """One is done."""
        with self._changed:
            self.done[place] = [result]
            self._changed.notify()

    def end(self, _: object) -> None:
        """No other will be done, since the task run has ended."""
        with self._changed:
            self.is_over = True
            self._changed.notify()

    def in_order(self) -> Iterator[Result]:
        """The results from the first on as they come, up to the first that there is none of."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.handed_on in self.done or self.is_over)
                if self.handed_on not in self.done:
                    return
                results = self.done.pop(self.handed_on)
                self.handed_on += 1
            yield from results


@contextmanager
def dask_client(
    parameters: WorkParameters, *, in_process: bool = False
) -> Iterator[distributed.Client]:
    """A Dask client: the chain's, that of ``dask_address``, or one on local processes.

    Args:
        parameters: which cluster, how many local workers.
        in_process: one worker thread in this process, for work that begins and ends with it.

    Raises:
        UserError: no scheduler answers at ``dask_address``.
    """
    current = _shared.get()
    if current is not None and not in_process:
        yield current
        return
    if parameters.dask_address and not in_process:
        try:
            client = distributed.Client(parameters.dask_address, timeout=CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"dask_address {parameters.dask_address!r}: no Dask scheduler answers ({error}); "
                "start one with `dask scheduler`, or leave the field empty for local processes"
            ) from error
        with client:
            if not client.nthreads():
                _tell_of_no_workers(parameters.dask_address)
            yield from _share(client)
        return
    workers = 1 if in_process else parameters.num_workers
    with (
        dask.config.set(
            {
                "distributed.scheduler.no-workers-timeout": NO_WORKERS_S,
                "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
                "distributed.deploy.lost-worker-timeout": GIVEN_UP_AFTER,
                TRIM: None,
                PROFILE: False,
            }
        ),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=not in_process,
            # no dashboard; the scheduler's pages on a port of this machine's own that is free
            dashboard_address="127.0.0.1:0",
            # a worker in this process would have its own on every interface
            worker_dashboard_address="127.0.0.1:0" if in_process else None,
            scheduler_kwargs={"dashboard": False},
            # a scheduler runs what it is sent: only who holds this cluster's own key may send
            security=None if in_process else True,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield from _share(client)


def _tell_of_no_workers(address: str) -> None:
    """Say what batches wait for; one that starts workers when there is work may do so yet."""
    with suppress(MissingContextError):  # there is no flow run, as of a benchmark
        get_run_logger().warning(
            "dask_address %r: the scheduler there has no workers yet, and batches wait until it "
            "has some: start one with `dask worker %s`",
            address, address,
        )  # fmt: skip


def _share(client: distributed.Client) -> Iterator[distributed.Client]:
    token = _shared.set(client)
    try:
        yield client
    finally:
        _shared.reset(token)


def pending_batches(
    items: Sequence[Item], done: set[str], size: int, name: Callable[[Item], str]
) -> list[list[Item]]:
    """Cut ``items`` into batches, and leave out what is done.

    The cuts depend on the whole list alone, so a run that continues a killed one makes the very
    parts that the killed one would have made.

    >>> pending_batches(["a", "b", "c"], {"a"}, 2, str)
    [['b'], ['c']]
    """
    cuts = (items[start : start + size] for start in range(0, len(items), size))
    batches = ([item for item in cut if name(item) not in done] for cut in cuts)
    return [batch for batch in batches if batch]


@contextmanager
def results_of(
    work: Callable[[Batch], Result],
    batches: Sequence[Batch],
    parameters: WorkParameters,
    *,
    label: str,
    unit: str,
    size: Callable[[Batch], float] = lambda _: 1.0,
    most_workers: int = 0,
) -> Iterator[Iterator[Result]]:
    """The results of ``work`` on every pending batch, in their order, with a progress bar.

    Where nothing is pending, no worker starts.

    Args:
        work: what a Dask worker does with a batch.
        batches: what is pending.
        parameters: which cluster, how many local workers.
        label: name of the work, for the bar and the task runs.
        unit: what the bar counts.
        size: how many units a batch is.
        most_workers: so many of the local workers at most; 0 for all.
    """
    if not batches:
        yield iter(())
        return
    total = sum(size(batch) for batch in batches)
    with (
        dask_client(parameters) as client,
        progress(label, total, unit) as bar,
    ):
        yield run_batches(client, work, batches, bar, size, most_workers)


def run_batches(
    client: distributed.Client,
    work: Callable[[Batch], Result],
    batches: Sequence[Batch],
    progress: StageProgress,
    size: Callable[[Batch], float] = lambda _: 1.0,
    most_workers: int = 0,
) -> Iterator[Result]:
    """Run ``work`` on every batch, and yield the results in the order of the batches.

    A batch that fails is tried again twice; if it fails still, the other batches go on, and the
    error is raised at the end. Such a batch has no result, and one that kills its workers may have
    several (:mod:`flows.running.dividing`): tell results apart by what is in them, not by their
    places.

    When the flow run is cancelled or paused, or nobody wants more results, no other batch begins:
    what runs on local processes ends with them, what runs on somebody's cluster ends its batch.

    Raises:
        UserError: the scheduler at ``dask_address`` went away.
    """
    stopped = threading.Event()
    submitted: list[distributed.Future[Result]] = []
    groups: list[_Group[Batch, Result]] = [
        _Group(group) for group in _groups(batches, MAX_TASK_RUNS)
    ]

    @task(
        name=f"{progress.label}-batches",
        task_run_name=f"{progress.label}-batches-{{index}}",
        retries=2,
        retry_delay_seconds=1,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def run_group(index: int) -> None:
        if stopped.is_set():
            return
        group = groups[index]
        places = group.pending()
        futures = client.map(
            work, [group.batches[place] for place in places], pure=False,
            workers=_first_workers(client, most_workers), priority=-index,
        )  # fmt: skip
        submitted.extend(futures)
        place_of = dict(zip((future.key for future in futures), places, strict=True))
        failure: Exception | None = None
        try:
            for future in distributed.as_completed(futures):
                heed_pause()
                place = place_of[future.key]
                try:
                    group.finish(place, future.result())
                except distributed.KilledWorker:
                    group.killed.add(place)
                    continue
                except NoValidWorkerError as error:  # its workers died, and others came for them
                    if place in group.strayed:
                        group.killed.add(place)
                    else:
                        group.strayed.add(place)
                        failure = failure or error
                    continue
                except Exception as error:  # noqa: BLE001  raised below, after the others
                    failure = failure or error
                    continue
                progress.advance(size(group.batches[place]))
        finally:
            if unfinished := [future for future in futures if not future.done()]:
                client.cancel(unfinished)
        if failure is not None and not stopped.is_set():
            raise failure

    # a task run with a tag would ask the server for a place before each of its tries
    with TagsContext(current_tags=set()):
        runs = [run_group.submit(index) for index in range(len(groups))]
    for run, group in zip(runs, groups, strict=True):
        run.add_done_callback(group.end)
    failure: BaseException | None = None
    try:
        for run, group in zip(runs, groups, strict=True):
            yield from group.in_order()
            try:
                run.result()
            except Exception as error:  # noqa: BLE001  raised below, after the others' turn
                failure = failure or error
            if group.killed:
                wait(runs)
            for place in sorted(group.killed):
                heed_pause()
                try:
                    group.done[place] = do_alone(client, work, group.batches[place])
                except Exception as error:  # noqa: BLE001  raised below, after the others' turn
                    failure = failure or error
                    continue
                progress.advance(size(group.batches[place]))
            for place in sorted(group.done):
                yield from group.done.pop(place)
    except BaseException:  # a cancelled or paused flow run, an interrupt, a consumer that gives up
        stopped.set()
        client.cancel(submitted, force=True)
        raise
    if client.cluster is None and isinstance(failure, SCHEDULER_LOST):
        raise UserError(
            "dask_address: the Dask scheduler there was lost; what was done is kept: start one "
            "there again, then run the same command to continue"
        ) from failure
    if failure is not None:
        raise failure


def _first_workers(client: distributed.Client, most: int) -> list[str] | None:
    """The addresses of the first workers by their numbers; None for all."""
    if not most:
        return None
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sorted(workers, key=lambda address: workers[address]["name"])[:most]


def _groups(batches: Sequence[Batch], most: int) -> list[Sequence[Batch]]:
    size = max(1, -(-len(batches) // most))
    return [batches[start : start + size] for start in range(0, len(batches), size)]
