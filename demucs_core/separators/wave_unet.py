"""Wave-U-Net (Stoller, Ewert, Dixon 2018, arXiv 1806.03185): the waveform baseline.

The defaults are the paper's M6, its model of four sources in stereo, which is M4, its best one for
vocals, applied to them: the difference as the last source, context around the input instead of
padding, linear upsampling. M5 is ``upsampling="learned"``; M1 and M2 are ``context=False`` in mono.

What departs from the paper and from the authors' code (``cfg.full_multi_instrument``), and why:

- Any length goes in and comes out, which is the contract here. The authors give the network a
  longer input than its output. Here that input is the mixture with zeros around it, where they
  have real audio in training; separation gives it real audio but for the ends of a song, where
  theirs has zeros too.
- Learned upsampling begins at the mean of two steps; theirs at random, around it.
- It works at the rate of the music it is for, 44.1 kHz by default, not at 22.05 kHz.
- It is trained as everything here is, to be compared with it: on L1 instead of the squared error,
  with Adam at 3e-4 instead of 1e-4, on crops longer than their 16,389 samples.

Models of silentmix 0.1.0 were padded with zeros in each layer and had no tanh. They are read as
what they were, ``context=False, tanh=False``.

Shape legend: B batch, S sources, C audio channels, T samples, H hidden channels, N steps of a
layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demucs_core.configuration import check_at_least, check_odd
from demucs_core.separators.separator import SeparationModel, SeparatorConfig


@dataclass(frozen=True, kw_only=True)
class WaveUNetConfig(SeparatorConfig):
    """Everything that decides what a :class:`WaveUNet` is; the defaults are the paper's M6.

    Attributes:
        channels: hidden channels that each level adds to the one before.
        depth: number of levels; each halves the time resolution.
        down_kernel_size: kernel on the way down, odd.
        up_kernel_size: kernel on the way up, odd.
        difference_output: the last source is the mixture less the others, so that the estimates
            add up to the mixture.
        context: layers see what there is around them, of a longer input, instead of zeros around
            each layer.
        upsampling: steps between two are their mean, or weigh them with learned weights.
        tanh: what is estimated goes through tanh, so that no source exceeds full scale; but for the
            last one where that is the difference.

    Raises:
        ValueError: a field out of range, by name.
    """

    channels: int = 24
    depth: int = 12
    down_kernel_size: int = 15
    up_kernel_size: int = 5
    difference_output: bool = True
    context: bool = True
    upsampling: Literal["linear", "learned"] = "linear"
    tanh: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "channels", "depth")
        check_odd(self, "down_kernel_size", "up_kernel_size")
        if self.difference_output and len(self.sources) < 2:
            raise ValueError("difference_output needs at least two sources")


class WaveUNet(SeparationModel):
    """Estimate every source of a mixture from its waveform: ``(B, C, T)`` to ``(B, S, C, T)``.

    On the way down convolution, leaky ReLU and decimation by two; on the way up interpolation,
    concatenation with the features before decimation, convolution, leaky ReLU; a 1x1 convolution on
    features and mixture at the end. Weights begin as the authors' do (Glorot), biases at zero.
    """

    config: WaveUNetConfig

    def __init__(self, config: WaveUNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels * (level + 1) for level in range(config.depth)]
        down, up = config.down_kernel_size, config.up_kernel_size
        down_padding, up_padding = (0, 0) if config.context else (down // 2, up // 2)
        inputs = [config.num_channels, *widths]
        self.down = nn.ModuleList(
            nn.Conv1d(before, after, down, padding=down_padding)
            for before, after in zip(inputs[:-1], widths, strict=True)
        )
        bottom = config.channels * (config.depth + 1)
        self.bottom = nn.Conv1d(widths[-1], bottom, down, padding=down_padding)
        below = [bottom, *widths[:0:-1]]
        self.up = nn.ModuleList(
            nn.Conv1d(narrow + width, width, up, padding=up_padding)
            for narrow, width in zip(below, widths[::-1], strict=True)
        )
        if config.upsampling == "learned":
            self.between = nn.ParameterList(torch.zeros(width) for width in below)
        num_predicted = len(config.sources) - int(config.difference_output)
        self.output = nn.Conv1d(
            widths[0] + config.num_channels, num_predicted * config.num_channels, 1
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    @property
    def context_samples(self) -> int:
        """How much longer the input is than the output that it is enough for."""
        config = self.config
        if not config.context:
            return 0
        lost = config.down_kernel_size - 1
        for _ in range(config.depth):
            lost = 2 * lost + config.down_kernel_size - 1 + config.up_kernel_size - 1
        return lost

    def valid_length(self, num_samples: int) -> int:
        """Separation gives it real audio as far as a sample hears, between steps too."""
        if not self.config.context:
            return num_samples
        return num_samples + self.context_samples + int(2 ** (self.config.depth + 1))

    def source_axes(self) -> dict[str, int]:
        """The last layer makes the sources, but for the one that is the difference."""
        return {"output.weight": 0, "output.bias": 0}

    def estimated_sources(self) -> tuple[str, ...]:
        """All, or all but the difference."""
        sources = self.config.sources
        return sources[:-1] if self.config.difference_output else sources

    def forward(self, mixture: Tensor) -> Tensor:
        """Map mixtures ``(B, C, T)``, any T of at least 1, to estimates ``(B, S, C, T)``."""
        config, num_samples = self.config, mixture.shape[-1]
        if config.context:
            surplus = self._output_length(num_samples) - num_samples
            missing = surplus + self.context_samples
            # half of what is lost and half of what is too much come before the mixture
            before = self.context_samples // 2 + surplus // 2
            x = F.pad(mixture, (before, missing - before))
        else:
            x = mixture
        padded = x
        skips: list[Tensor] = []
        for convolve in self.down:
            x = F.leaky_relu(convolve(x), 0.2)
            skips.append(x)
            x = x[..., ::2]
        x = F.leaky_relu(self.bottom(x), 0.2)
        for level, convolve in enumerate(self.up):
            skip = skips.pop()
            x = self._interpolate(
                x, level, 2 * x.shape[-1] - 1 if config.context else skip.shape[-1]
            )
            x = F.leaky_relu(convolve(torch.cat([x, _middle(skip, x.shape[-1])], dim=1)), 0.2)
        x = self.output(torch.cat([x, _middle(padded, x.shape[-1])], dim=1))
        x = _middle(torch.tanh(x) if config.tanh else x, num_samples)
        estimates: Tensor = x.unflatten(1, (-1, config.num_channels))
        if config.difference_output:
            last = mixture.unsqueeze(1) - estimates.sum(1, keepdim=True)
            estimates = torch.cat([estimates, last], dim=1)
        return estimates

    def _output_length(self, num_samples: int) -> int:
        """The shortest output with context, not under ``num_samples``."""
        lost, depth = self.config.up_kernel_size - 1, self.config.depth
        steps = num_samples
        for _ in range(depth):
            steps = (steps + lost) // 2 + 1  # the least whose double less one is enough
        steps = max(2, steps)
        for _ in range(depth):
            steps = 2 * steps - 1 - lost
        return steps

    def _interpolate(self, x: Tensor, level: int, num_steps: int) -> Tensor:
        if self.config.upsampling == "linear":
            return _interpolate(x, num_steps)
        return _interpolate(x, num_steps, torch.sigmoid(self.between[level])[:, None])


def _middle(x: Tensor, num_steps: int) -> Tensor:
    """The middle of ``(B, H, N)``: ``(B, H, num_steps)``."""
    first = (x.shape[-1] - num_steps) // 2
    return x[..., first : first + num_steps]


def _interpolate(x: Tensor, num_steps: int, weight: Tensor | float = 0.5) -> Tensor:
    """Undo decimation by two: ``(B, H, N)`` to ``(B, H, num_steps)``.

    Old steps stay in place, exactly, whether ``num_steps`` is odd or even; past the last one, its
    value is held. A step between has ``weight`` of the one before it, the rest of the one after.
    """
    held = F.pad(x, (0, 1), mode="replicate")
    between = weight * held[..., :-1] + (1 - weight) * held[..., 1:]
    return torch.stack([x, between], dim=-1).flatten(-2)[..., :num_steps]
