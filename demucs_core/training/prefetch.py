"""The next batch is made while the last one is learned from, without processes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(items: Iterable[Item]) -> Generator[Item]:
    """Give the same items in the same order, one of them made ahead in a thread.

    The thread ends with the iterator: when it is closed, forgotten or has given the last item.
    What the making of an item raises is raised where the item would come.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None, bool]] = queue.Queue(maxsize=1)
    wanted = threading.Semaphore(1)
    closed = threading.Event()

    def make() -> None:
        iterator = iter(items)
        while wanted.acquire() and not closed.is_set():
            try:
                ready.put((next(iterator), None, False))
            except StopIteration:
                ready.put((None, None, True))
                return
            except BaseException as error:  # noqa: BLE001  raised again where it is waited for
                ready.put((None, error, True))
                return

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = ready.get()
            if error is not None:
                raise error
            if last:
                return
            wanted.release()
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        wanted.release()
        thread.join()
