"""Many short tensor computations over CPU threads, one computation a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from demucs_core.ahead import Item, Result, ahead


def map_in_order(
    compute: Callable[[Item], Result], items: Iterable[Item], device: torch.device
) -> Iterator[Result]:
    """Apply ``compute`` to items on as many threads as PyTorch has, and yield results in order.

    PyTorch splits every operation over its threads and waits for the slowest of them, thousands of
    times a second where operations are short: on a machine that does something else besides, the
    waiting takes longer than the work. Here each thread has an item of its own and waits for none.
    Items are drawn in the caller's thread, a few ahead of the results, so that memory stays bounded
    and readers need not be thread-safe; until the last result is out, that thread too keeps to
    itself. On other devices than the CPU it is plain ``map``.
    """
    num_threads = torch.get_num_threads()
    if device.type != "cpu" or num_threads == 1:
        yield from map(compute, items)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(
            num_threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            for future in ahead(pool, compute, items, num_threads):
                yield future.result()
    finally:
        torch.set_num_threads(num_threads)
