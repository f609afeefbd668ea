"""A batch that kills its worker is halved until the item at fault is found, which is refused.

Dask gives up a batch whose worker died of it, or beside it: a worker is given another batch while
it is at one. So what was given up is tried alone, once nothing else runs; and what dies alone too,
twice, is halved. One item that kills its worker costs that item, and a batch that was merely there
when somebody else killed workers costs nothing.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, Self, TypeVar

import distributed

from storage.errors import UserError

_WHY = (
    "every process that worked on it died, alone with it too; if memory was short, more of it, or "
    "fewer --workers, may help"
)

TRIES = 2
"""Of a batch alone: somebody from outside may have killed its worker once."""

NANNIES_S = 60
POLL_S = 0.05

Batch = TypeVar("Batch")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Divisible(ABC, Generic[Result]):
    """A batch of items that may be done in any two batches, and each of which may be refused."""

    @abstractmethod
    def halves(self) -> Sequence[Self]:
        """Two batches of its items, in their order; none where it is one item."""

    @abstractmethod
    def refused(self, detail: str) -> Result:
        """Refuse its one item; returns what the work would."""


class Indispensable(Divisible[Result]):
    """A batch of one item without which the work comes to nothing."""

    @property
    @abstractmethod
    def named(self) -> str:
        """What it is, for whoever may take it away."""

    def halves(self) -> Sequence[Self]:
        """None."""
        return []

    def refused(self, detail: str) -> Result:
        """Refuse all of the work.

        Raises:
            UserError: names the item.
        """
        raise UserError(f"{self.named}: {detail}")


def halved(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Both halves of several items; none of one.

    >>> halved("abc"), halved("a")
    (['a', 'bc'], [])
    """
    middle = len(items) // 2
    return [items[:middle], items[middle:]] if middle else []


def do_alone(
    client: distributed.Client, work: Callable[[Batch], Result], batch: Batch
) -> list[Result]:
    """The results of a batch that Dask gave up: one, or those of its pieces in their order.

    Args:
        client: of a cluster on which nothing else runs.
        work: what a worker does with a batch.
        batch: whose workers died.

    Raises:
        UserError: they do again, and it can't be divided.
    """
    for _ in range(TRIES):
        _wait_for_nannies(client)
        future = client.submit(work, batch, pure=False)
        try:
            return [future.result()]
        except distributed.KilledWorker:
            continue
        finally:
            client.cancel([future], force=True)
    if not isinstance(batch, Divisible):
        raise UserError(f"a batch: {_WHY}")
    halves = batch.halves()
    if not halves:
        return [batch.refused(_WHY)]
    return [result for half in halves for result in do_alone(client, work, half)]


def _wait_for_nannies(client: distributed.Client) -> None:
    """Wait until local workers that died are there again, as those see it that start them.

    A worker is given work as soon as the scheduler knows it. One that dies then, before its nanny
    knows it, is not started again.
    """
    workers = getattr(client.cluster, "workers", {}).values()
    nannies = [worker for worker in workers if isinstance(worker, distributed.Nanny)]
    deadline = time.monotonic() + NANNIES_S
    while time.monotonic() < deadline and not all(map(_is_up, nannies)):
        time.sleep(POLL_S)


def _is_up(nanny: distributed.Nanny) -> bool:
    return nanny.process is not None and nanny.process.status == distributed.Status.running
