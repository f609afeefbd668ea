"""Wave-U-Net (Stoller, Ewert, Dixon 2018, arXiv 1806.03185): the waveform baseline.

Shape legend: B batch, S sources, C audio channels, T samples, H hidden channels, N steps of a
layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demucs_core.configuration import check_at_least, check_odd
from demucs_core.separators.separator import SeparationModel, SeparatorConfig


@dataclass(frozen=True, kw_only=True)
class WaveUNetConfig(SeparatorConfig):
    """Everything that decides the shape of a :class:`WaveUNet`; the defaults are the paper's M6.

    Attributes:
        channels: hidden channels that each level adds to the one before.
        depth: number of levels; each halves the time resolution.
        down_kernel_size: kernel on the way down, odd.
        up_kernel_size: kernel on the way up, odd.
        difference_output: the last source is the mixture less the others, so that the estimates
            add up to the mixture.

    Raises:
        ValueError: a field out of range, by name.
    """

    channels: int = 24
    depth: int = 12
    down_kernel_size: int = 15
    up_kernel_size: int = 5
    difference_output: bool = True

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        super().__post_init__()
        check_at_least(self, 1, "channels", "depth")
        check_odd(self, "down_kernel_size", "up_kernel_size")
        if self.difference_output and len(self.sources) < 2:
            raise ValueError("difference_output needs at least two sources")


class WaveUNet(SeparationModel):
    """Estimate every source of a mixture from its waveform: ``(B, C, T)`` to ``(B, S, C, T)``.

    On the way down convolution, leaky ReLU and decimation by two; on the way up linear
    interpolation, concatenation with the features before decimation, convolution, leaky ReLU; a
    1x1 convolution on features and mixture at the end. Departures from the paper's M6, its model
    of four sources in stereo: convolutions are zero-padded (there, the input has context around the
    output instead), so that any length works, and the output has no tanh, so that a source may
    exceed full scale as remixed ones do. And in how it is trained here: at the workspace's rate,
    44.1 kHz by default, instead of 22.05 kHz, and on L1 with Adam at 3e-4, as Demucs is, instead of
    on the squared error at 1e-4.
    """

    config: WaveUNetConfig

    def __init__(self, config: WaveUNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels * (level + 1) for level in range(config.depth)]
        down, up = config.down_kernel_size, config.up_kernel_size
        inputs = [config.num_channels, *widths]
        self.down = nn.ModuleList(
            nn.Conv1d(before, after, down, padding=down // 2)
            for before, after in zip(inputs[:-1], widths, strict=True)
        )
        bottom = config.channels * (config.depth + 1)
        self.bottom = nn.Conv1d(widths[-1], bottom, down, padding=down // 2)
        self.up = nn.ModuleList(
            nn.Conv1d(below + width, width, up, padding=up // 2)
            for below, width in zip([bottom, *widths[:0:-1]], widths[::-1], strict=True)
        )
        num_predicted = len(config.sources) - int(config.difference_output)
        self.output = nn.Conv1d(
            widths[0] + config.num_channels, num_predicted * config.num_channels, 1
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Map mixtures ``(B, C, T)``, any T of at least 1, to estimates ``(B, S, C, T)``."""
        x = mixture
        skips: list[Tensor] = []
        for convolve in self.down:
            x = F.leaky_relu(convolve(x), 0.2)
            skips.append(x)
            x = x[..., ::2]
        x = F.leaky_relu(self.bottom(x), 0.2)
        for convolve in self.up:
            skip = skips.pop()
            x = torch.cat([_interpolate(x, skip.shape[-1]), skip], dim=1)
            x = F.leaky_relu(convolve(x), 0.2)
        x = self.output(torch.cat([x, mixture], dim=1))
        estimates: Tensor = x.unflatten(1, (-1, self.config.num_channels))
        if self.config.difference_output:
            last = mixture.unsqueeze(1) - estimates.sum(1, keepdim=True)
            estimates = torch.cat([estimates, last], dim=1)
        return estimates


def _interpolate(x: Tensor, num_steps: int) -> Tensor:
    """Undo decimation by two: ``(B, H, N)`` to ``(B, H, num_steps)``, steps between their mean.

    Old steps stay in place, exactly, whether ``num_steps`` is odd or even; past the last one, its
    value is held.
    """
    held = F.pad(x, (0, 1), mode="replicate")
    between = (held[..., :-1] + held[..., 1:]) / 2
    return torch.stack([x, between], dim=-1).flatten(-2)[..., :num_steps]
