"""The processes of a training: started from here on one machine, or joined as a launcher says."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import torch
from torch import distributed as dist

from demucs_core.training.ranks import ALONE, Ranks
from flows.running.launcher import Launch, launched
from flows.train.companion import Companion, Task
from flows.train.options import TrainParameters
from storage.errors import UserError

PATIENCE = timedelta(hours=2)
"""How long the others wait for one that loads, validates or saves."""
LOCAL = ("127.0.0.1", "localhost")
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@contextmanager
def together(parameters: TrainParameters, device: str) -> Iterator[tuple[Ranks, str, int]]:
    """The processes that train together, as long as the block lasts.

    Args:
        parameters: say how many.
        device: cpu, cuda, or one GPU.

    Yields:
        Them, this process's device, and how many threads it takes (0 for its own number).

    Raises:
        UserError: so many processes can't be, or one of them ended.
    """
    launch = launched(os.environ)
    size = num_processes(parameters, device, launch)
    if size == 1:
        yield ALONE, device, parameters.threads
    elif launch is not None:
        with joined_as_launched(launch, device) as (ranks, own_device):
            yield ranks, own_device, parameters.threads
    else:
        num_threads = parameters.threads or max(1, torch.get_num_threads() // size)
        with _started(parameters, device, size, num_threads) as ranks:
            yield ranks, own_device_of(device, 0), num_threads


def num_processes(parameters: TrainParameters, device: str, launch: Launch | None) -> int:
    """How many processes train together.

    Raises:
        UserError: so many can't: a launcher started others, there are fewer GPUs or cores, or they
            can't share a batch evenly.
    """
    on_gpus = device.startswith("cuda")
    size = parameters.processes or (torch.cuda.device_count() if on_gpus else 1)
    if launch is not None:
        if parameters.processes not in (0, 1, launch.size):
            raise UserError(
                f"processes is {parameters.processes}, and the launcher started {launch.size} "
                "(WORLD_SIZE); leave processes out"
            )
        size = launch.size
    if size > 1 and ":" in device:
        raise UserError(
            f"device {device} is one GPU, and {size} processes need one each; set device to cuda"
        )
    if launch is None and on_gpus and size > torch.cuda.device_count():
        raise UserError(
            f"processes is {size}, and torch finds {torch.cuda.device_count()} GPUs here, of which "
            "each process needs one; lower processes, or set device to cpu"
        )
    if parameters.batch_size % size:
        raise UserError(
            f"batch_size {parameters.batch_size} can't be shared evenly by {size} processes; take "
            f"a multiple of {size}, such as {-(-parameters.batch_size // size) * size}, or a "
            "number of processes that divides it"
        )
    num_cores = os.cpu_count() or size
    if launch is None and not on_gpus and size > num_cores:
        raise UserError(
            f"processes is {size}, and this machine has {num_cores} cores, of which each process "
            "needs one; lower processes"
        )
    return size


def own_device_of(device: str, local_rank: int) -> str:
    """The device of one of a machine's processes.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    if not device.startswith("cuda"):
        return device
    if local_rank >= torch.cuda.device_count():
        raise UserError(
            f"LOCAL_RANK is {local_rank}, and torch finds {torch.cuda.device_count()} GPUs here: "
            "start one process a GPU; where the launcher shows each process its own GPU alone, set "
            "LOCAL_RANK to 0"
        )
    return f"cuda:{local_rank}"


@contextmanager
def joined_as_launched(launch: Launch, device: str) -> Iterator[tuple[Ranks, str]]:
    """The processes that a launcher started, and this one's device.

    Raises:
        UserError: there are fewer GPUs than processes, or one of the processes ended.
    """
    own = own_device_of(device, launch.local_rank)
    with ExitStack() as stack:
        if launch.master in LOCAL:
            stack.enter_context(_on_this_machine())
        try:
            ranks = joined(own, rank=launch.rank, size=launch.size, meeting="env://")
            yield stack.enter_context(ranks), own
        except RuntimeError as error:
            if not is_of_the_group(error):
                raise
            raise UserError(
                f"train: process {launch.rank} of {launch.size} can't reach the others ({error}); "
                "what ended first says why. Start all anew to continue at the last checkpoint"
            ) from error


def dismiss_others(device: str) -> None:
    """Tell the processes that a launcher started that there is nothing to train."""
    launch = launched(os.environ)
    if launch is not None:
        with joined_as_launched(launch, device) as (ranks, _):
            ranks.told(None)


@contextmanager
def joined(device: str, *, rank: int, size: int, meeting: str) -> Iterator[Ranks]:
    """Meet the other processes, and part from them at the end of the block.

    Args:
        device: of this process.
        rank: of this process.
        size: number of processes.
        meeting: where they find each other, as torch's ``init_method``.
    """
    backend = "gloo"
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
        backend = "nccl"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=size)
    try:
        yield Ranks(rank=rank, size=size, talk=dist.new_group(backend="gloo", timeout=PATIENCE))
    finally:
        dist.destroy_process_group()


def is_of_the_group(error: Exception) -> bool:
    """Whether an error is about the way to the other processes, and not of this one's own."""
    if not isinstance(error, RuntimeError):
        return False
    return isinstance(error, dist.DistError) or "gloo" in str(error)


@contextmanager
def _on_this_machine() -> Iterator[None]:
    """Let processes listen to this machine alone."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    before = {name: os.environ.get(name) for name in INTERFACES}
    os.environ.update(dict.fromkeys(INTERFACES, loopback))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _started(
    parameters: TrainParameters, device: str, size: int, num_threads: int
) -> Iterator[Ranks]:
    """This process and others that it starts, which end with it, however that ends."""
    with ExitStack() as stack:
        # They meet at a file of this user's own, so that nothing listens to the network.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="silentmix-train-"))
        meeting = f"file://{folder}/meeting"
        stack.enter_context(_on_this_machine())
        others = []
        for rank in range(1, size):
            told = Task(
                parameters=parameters.model_copy(update={"threads": num_threads}),
                device=own_device_of(device, rank),
                rank=rank,
                size=size,
                meeting=meeting,
            )
            others.append(Companion(told))
            stack.callback(others[-1].end)
        for other in others:
            other.wait_until_ready()
        try:
            with joined(own_device_of(device, 0), rank=0, size=size, meeting=meeting) as ranks:
                yield ranks
        except RuntimeError as error:
            if not is_of_the_group(error):
                raise
            said_last = [said for other in others if (said := other.last_words())]
            raise UserError(
                f"train: {'; '.join(said_last) or error}. Run the same command to continue at the "
                "last checkpoint"
            ) from error
        for other in others:
            other.let_finish()
