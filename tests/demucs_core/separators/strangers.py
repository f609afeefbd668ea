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


class Forgetful(Mixing):
    """Loses a sample, once it is trained."""

    def forward(self, mixture: Tensor) -> Tensor:
        return super().forward(mixture)[..., int(self.training) :]


class Whole(Mixing):
    def forward(self, mixture: Tensor) -> Tensor:
        return super().forward(mixture).int()


class Endless(Mixing):
    def forward(self, mixture: Tensor) -> Tensor:
        return super().forward(mixture) / 0


class Detached(Mixing):
    def forward(self, mixture: Tensor) -> Tensor:
        return super().forward(mixture).detach()


class Doubling(Mixing):
    """Changes what its own way back would need."""

    def forward(self, mixture: Tensor) -> Tensor:
        estimates = super().forward(mixture).exp()
        estimates *= 2
        return estimates


class Weightless(nn.Module):
    def __init__(self, sources: Sequence[str]) -> None:
        super().__init__()
        self.num_sources = len(sources)


class Remembering(Mixing):
    """Counts, normalises and draws."""

    def __init__(self, sources: Sequence[str], num_channels: int) -> None:
        super().__init__(sources, num_channels)
        self.norm = nn.BatchNorm1d(num_channels)

    def forward(self, mixture: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(self.norm(mixture), training=self.training))


class Listing(Mixing):
    def forward(self, mixture: Tensor) -> Tensor:
        return list(super().forward(mixture))  # type: ignore[return-value]


class Failing(Mixing):
    def forward(self, mixture: Tensor) -> Tensor:
        raise RuntimeError(f"the crop of {mixture.shape[-1]} is too short")


NOTHING = None
