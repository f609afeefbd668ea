"""Batches of a fit, made ahead by threads or by processes: the same ones, in the same order."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from demucs_core.ahead import ahead
from demucs_core.detector.examples import Batch, ExampleSource


@dataclass(frozen=True)
class _Batches(Dataset[Batch]):
    """Batches by their steps."""

    examples: ExampleSource

    def __getitem__(self, step: int) -> Batch:
        return self.examples.batch(step)


def by_processes(examples: ExampleSource, steps: range, num_processes: int) -> Generator[Batch]:
    """Batches for a GPU, which learns from them faster than threads make them.

    Processes come from a fork server, since a copy of this process would have none of its threads,
    but the locks that these hold.
    """
    loader = DataLoader(
        _Batches(examples),
        batch_size=None,
        sampler=steps,
        num_workers=num_processes,
        multiprocessing_context="forkserver",
        # or the loader would draw from torch's global generator
        generator=torch.Generator().manual_seed(0),
    )
    return (batch for batch in loader)


def by_threads(examples: ExampleSource, steps: range, num_threads: int) -> Generator[Batch]:
    """Batches for a network on the same cores."""
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="detector-examples")
    try:
        for future in ahead(pool, examples.batch, steps, num_threads):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
