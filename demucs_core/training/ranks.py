"""The processes that train one model together, and what they tell each other.

Each has the whole model, makes and learns from every n-th example of a batch, and takes the same
step with the mean of all their gradients. So all know the same at any time, and decide alike from
it. What a process alone can know, the others are told: that it is to stop, that a batch does not
fit, and from the first what its validation found, since it alone validates and writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from demucs_core.trainer_state import Weights


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those of a training; all call the same methods in the same order.

    With more than one, torch's default process group is that of the training: gradients go there.

    Attributes:
        rank: of this process; the first is 0.
        size: number of processes.
        talk: a group for what is said on the CPU, which may take long: a process that loads,
            validates or saves is waited for there. None is the default group.
    """

    rank: int = 0
    size: int = 1
    talk: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that validates and writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    @property
    def own(self) -> slice:
        """The examples of a batch that are this process's.

        Every n-th one, since a batch begins with the weak ones: so each has its share of both.
        """
        return slice(self.rank, None, self.size)

    def num_own(self, num_first: int) -> int:
        """Return how many of the first examples of a batch are this process's.

        >>> [Ranks(rank=rank, size=2).num_own(3) for rank in (0, 1)]
        [2, 1]
        """
        return len(range(num_first)[self.own])

    def replicated(self, model: nn.Module, *, reached: bool) -> DistributedDataParallel:
        """Return a module whose backward pass gives all processes the mean of their gradients.

        Args:
            model: the same in every process.
            reached: whether every weight of it has a gradient in this process.
        """
        return DistributedDataParallel(
            model, gradient_as_bucket_view=True, find_unused_parameters=self.any(not reached)
        )

    def any(self, flag: bool) -> bool:
        """Return whether a process says so."""
        return self._of_all(int(flag), dist.ReduceOp.MAX) > 0

    def least(self, number: int) -> int:
        """Return the smallest number that a process gives."""
        return self._of_all(number, dist.ReduceOp.MIN)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, where the values are."""
        if self.alone:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def whole(self, own: Tensor) -> Tensor:
        """Return a batch of what each process has for its own examples, in the batch's order."""
        if self.alone:
            return own
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)

    def told(self, value: Any = None) -> Any:
        """Return what the first process gives, JSON-able; what others give is ignored."""
        if self.alone:
            return value
        content = json.dumps(value).encode() if self.is_first else b""
        length = torch.tensor([len(content)])
        dist.broadcast(length, src=0, group=self.talk)
        text = torch.empty(int(length.item()), dtype=torch.uint8)
        if self.is_first:
            text = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        dist.broadcast(text, src=0, group=self.talk)
        return json.loads(text.numpy().tobytes())

    def told_tensors(self, tensors: Mapping[str, Tensor]) -> Weights:
        """Return tensors on the CPU that the first process gives, as :meth:`told`."""
        kinds = {
            name: (list(value.shape), str(value.dtype).removeprefix("torch."))
            for name, value in tensors.items()
        }
        found: Weights = {}
        for name, (shape, dtype) in self.told(kinds).items():
            own = (
                tensors[name] if self.is_first else torch.empty(shape, dtype=getattr(torch, dtype))
            )
            found[name] = own
            if not self.alone:
                dist.broadcast(own, src=0, group=self.talk)
        return found

    def _of_all(self, number: int, kind: dist.ReduceOp.RedOpType) -> int:
        """One number of all of them."""
        if self.alone:
            return number
        value = torch.tensor([number])
        dist.all_reduce(value, kind, group=self.talk)
        return int(value.item())


ALONE = Ranks()
"""The one process of a training that has no other."""
