"""Where networks compute: what was asked for, on this machine and in a Dask worker."""

from __future__ import annotations

import os
from types import ModuleType

from flows.running.parameters import WorkParameters
from storage.errors import UserError

WORKERS_A_GPU = 4
"""Local processes that share a GPU: while one computes there, the others read and write."""
MOST_LOADERS = 8
"""Processes that make examples for one GPU, which learns from them faster than one makes them."""


def pick_device(device: str) -> str:
    """``auto`` means the GPU where there is one.

    Raises:
        UserError: a GPU was asked for, and there is none.
    """
    if device == "auto":
        return "cuda" if _cuda().is_available() else "cpu"
    if device.startswith("cuda") and not _cuda().is_available():
        raise UserError(f"device {device!r}: torch finds no GPU here; use cpu or auto")
    return device


def most_workers(parameters: WorkParameters, device: str) -> int:
    """How many of the local Dask workers take part at most; 0 for all, as on CPUs.

    Whoever's cluster is at ``dask_address`` decides about its own, and its workers' devices.

    Args:
        parameters: which cluster.
        device: that was asked for.

    Raises:
        UserError: the work is done on this machine, which has no such device.
    """
    if parameters.dask_address:
        return 0
    device = pick_device(device)
    if device == "cpu":
        return 0
    return WORKERS_A_GPU * (1 if ":" in device else _cuda().device_count())


def num_loaders(device: str, num_cores: int | None = None) -> int:
    """How many processes make examples for a training on a GPU; none do for one on the CPU.

    Args:
        device: of the training.
        num_cores: that there are for them; by default the GPU's share of this machine's.
    """
    if device == "cpu":
        return 0
    if num_cores is None:
        num_cores = (os.cpu_count() or 1) // _cuda().device_count()
    return min(MOST_LOADERS, num_cores)


def own_device(device: str) -> str:
    """The device of this Dask worker.

    Where all GPUs are meant, local workers, which are numbered, take them in turn. Those of
    somebody's cluster have names, and take the first GPU that they are shown.

    Args:
        device: that was asked for.

    Raises:
        UserError: this worker has no such device.
    """
    device = pick_device(device)
    if device != "cuda":
        return device
    from distributed import get_worker  # what asks on the command line need not wait for it

    number = get_worker().name
    return f"cuda:{number % _cuda().device_count()}" if isinstance(number, int) else device


def _cuda() -> ModuleType:
    import torch  # which takes a second and 500 MiB: of no use where nothing is computed

    return torch.cuda
