"""Spreads songs over processes."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from demo_corpus.corpus import Map


@contextmanager
def over_processes(workers: int) -> Iterator[Map]:
    """What ``write_labelled`` and ``write_unlabelled`` take as ``map``.

    Args:
        workers: how many; 0 takes one a CPU core, and 1 needs none of its own.
    """
    if workers == 1:
        yield builtins.map
        return
    # spawned, not forked: what the parent's libraries hold (threads, locks) stays
    with ProcessPoolExecutor(workers or None, mp_context=get_context("spawn")) as processes:
        yield processes.map
