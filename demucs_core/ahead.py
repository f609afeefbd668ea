"""Work begun ahead of whoever waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], num_ahead: int
) -> Iterator[Future[Result]]:
    """What comes of each item, in order, while a pool begins with the next few.

    Args:
        pool: that works.
        work: what is done with an item.
        items: drawn in the caller's thread, as they are begun.
        num_ahead: how many are begun beside the one that is waited for.
    """
    begun: deque[Future[Result]] = deque()
    for item in items:
        begun.append(pool.submit(work, item))
        if len(begun) > num_ahead:
            yield begun.popleft()
    while begun:
        yield begun.popleft()
