"""What is random in a model that trains, such as dropout: decided by numbers, not by the past."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def drawn_from(device: torch.device, *numbers: int) -> Iterator[None]:
    """Let layers draw what these numbers decide, as long as the block lasts.

    They take no generator but torch's global one, which is afterwards as it was.

    >>> with drawn_from(torch.device("cpu"), 7, 0):
    ...     first = torch.rand(1)
    >>> with drawn_from(torch.device("cpu"), 7, 0):
    ...     bool(first == torch.rand(1))
    True
    """
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
