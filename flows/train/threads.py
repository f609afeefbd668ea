"""How many threads of the CPU a training takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(num_threads: int) -> Iterator[None]:
    """Let torch compute on so many threads as long as the block lasts; 0 leaves it its own number.

    The number is the process's, so it counts in the thread that trains too, and comes back after.
    """
    before = torch.get_num_threads()
    if num_threads:
        torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
