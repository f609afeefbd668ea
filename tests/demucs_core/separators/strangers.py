"""Classes that know nothing of silentmix, as people have them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Mixing(nn.Module):
    """One convolution, which is told of the music."""

    def __init__(self, sources: Sequence[str], num_channels: int, taps: int = 3) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.layer = nn.Conv1d(num_channels, len(sources) * num_channels, taps, padding="same")

    def forward(self, mixture: Tensor) -> Tensor:
        estimates: Tensor = self.layer(mixture).unflatten(1, (-1, self.num_channels))
        return estimates


class ForFour(nn.Module):
    """Says by itself how many sources it has, and how long the pieces are that it takes."""

    def __init__(self, stems: int) -> None:
        super().__init__()
        self.gains = nn.Parameter(torch.ones(stems, 1, 1))

    def forward(self, mixture: Tensor) -> Tensor:
        return mixture[:, None] * self.gains

    def longest_segment(self) -> int:
        return 123

    def valid_length(self, num_samples: int) -> int:
        return num_samples + 1


class Listing(Mixing):
    def forward(self, mixture: Tensor) -> Tensor:
        return list(super().forward(mixture))  # type: ignore[return-value]


class Failing(Mixing):
    def forward(self, mixture: Tensor) -> Tensor:
        raise RuntimeError(f"the crop of {mixture.shape[-1]} is too short")


NOTHING = None
