"""The gradients of a batch, recorded once as a CUDA graph and replayed: one launch instead of many.

A small model computes faster than a CPU can launch its kernels, so that the GPU waits between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from demucs_core.training.examples import Example

WARM_UPS = 3
"""Times that a batch is gone through before that: libraries choose their ways at first."""


class RecordedGradients:
    """Makes the gradients of batches of one shape by replaying what made those of the first.

    The gradients lie in the same memory at each replay, so nobody may set them to None.

    Args:
        make: makes the gradients of a batch for a divisor, from none, and returns each example's
            weighted loss, all without asking the GPU for a value.
        rehearse: makes gradients likewise, of which nothing stays.
        batch: the first batch, on the GPU.
        divisor: its divisor, on the GPU.
    """

    def __init__(
        self,
        make: Callable[[Example, Tensor], Tensor],
        rehearse: Callable[[Example], object],
        batch: Example,
        divisor: Tensor,
    ) -> None:
        self._batch = Example(*(value.clone() for value in batch))
        self._divisor = divisor.clone()
        device = divisor.device
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                rehearse(self._batch)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # The next batch is brought to pinned memory in another thread meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._weighted = make(self._batch, self._divisor)

    def fits(self, batch: Example) -> bool:
        """Whether a batch has the shape of the first."""
        return all(
            value.shape == kept.shape for value, kept in zip(batch, self._batch, strict=True)
        )

    def __call__(self, batch: Example, divisor: Tensor) -> Tensor:
        """Make the gradients of a batch; returns each example's weighted loss."""
        for kept, value in zip(self._batch, batch, strict=True):
            kept.copy_(value)
        self._divisor.copy_(divisor)
        self._graph.replay()
        return self._weighted.clone()


def layers_that_draw(model: nn.Module) -> Sequence[str]:
    """Names of the layers that draw anew at each step, such as dropout: a graph would not.

    >>> layers_that_draw(nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.0), nn.LSTM(2, 2)))
    ['0']
    """
    kinds = (nn.modules.dropout._DropoutNd, nn.RNNBase)
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, kinds)
        and (layer.dropout if isinstance(layer, nn.RNNBase) else layer.p)
    ]
