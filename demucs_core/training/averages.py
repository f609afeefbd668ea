"""Running averages of a model's weights, which often separate better than the weights do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from demucs_core.trainer_state import Weights, copy_to_cpu


class WeightAverages:
    """Exponential moving averages of a model's weights and buffers, one for each decay.

    After n updates an average weighs the weights of k updates ago with ``decay ** k``, and all
    weights sum to one, so the first weights of a run don't linger in it.

    Args:
        model: whose weights; the averages lie on its device.
        decays: of the averages.
    """

    def __init__(self, model: nn.Module, decays: Sequence[float]) -> None:
        self._model = model
        # Everything but counters, such as the batches that a normalisation has seen.
        self._names = [
            name for name, value in model.state_dict().items() if value.is_floating_point()
        ]
        self._averages = {decay: self._copies() for decay in decays}

    @property
    def decays(self) -> tuple[float, ...]:
        """The decays, in their order."""
        return tuple(self._averages)

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Take in the model's weights, for the ``num_updates``-th time, the first being one."""
        if not self._averages:
            return
        weights = self._own()
        for decay, average in self._averages.items():
            share = (1 - decay) / (1 - decay**num_updates)
            torch._foreach_lerp_(average, weights, share)

    @contextmanager
    def in_place_of_the_weights(self, decay: float) -> Iterator[None]:
        """Give the model an average's weights as long as the block lasts."""
        own = self._copies()
        self._put(self._averages[decay])
        try:
            yield
        finally:
            self._put(own)

    def copies(self, decay: float) -> Weights:
        """Return a copy on the CPU of an average, with what is not averaged as it is now."""
        state = dict(self._model.state_dict())
        state |= dict(zip(self._names, self._averages[decay], strict=True))
        return {name: copy_to_cpu(value) for name, value in state.items()}

    @torch.no_grad()
    def put_back(self, decay: float, weights: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`copies` gave, from any device."""
        for name, value in zip(self._names, self._averages[decay], strict=True):
            value.copy_(weights[name])

    @torch.no_grad()
    def _put(self, weights: Sequence[Tensor]) -> None:
        for own, value in zip(self._own(), weights, strict=True):
            own.copy_(value)

    def _copies(self) -> list[Tensor]:
        return [value.clone() for value in self._own()]

    def _own(self) -> list[Tensor]:
        """The model's own tensors, detached but not copied."""
        state = self._model.state_dict()
        return [state[name].detach() for name in self._names]
