"""Demucs of arXiv 1909.01174, section 3: a U-net on waveforms with an LSTM at its centre.

Shape legend: B batch, S sources, C audio channels, T samples, H hidden channels, F steps of the
innermost layer.

The layers have the order, the initial values and (but for two numbers, see
:func:`from_official_state`) the names of the official implementation, so that one set of weights
gives the same output in both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demucs_core.configuration import check_at_least, check_odd
from demucs_core.separators.separator import SeparationModel, SeparatorConfig


@dataclass(frozen=True, kw_only=True)
class DemucsConfig(SeparatorConfig):
    """Everything that decides the shape and the initial scale of a :class:`Demucs`.

    Attributes:
        channels: hidden channels after the first encoder block.
        depth: number of encoder blocks, and of decoder blocks.
        kernel_size: kernel of the strided convolutions.
        stride: their stride; the innermost layer runs at ``sample_rate / stride**depth``.
        context: kernel of the convolution that opens a decoder block, odd. The official class
            calls the same thing ``context = (kernel - 1) / 2``.
        growth: factor of the hidden channels from one block to the next.
        lstm_layers: layers of the bidirectional LSTM; 0 leaves it out.
        rescale: reference standard deviation of the initial weights; 0 leaves them alone.

    Raises:
        ValueError: a field out of range, by name.
    """

    channels: int = 64
    depth: int = 6
    kernel_size: int = 8
    stride: int = 4
    context: int = 3
    growth: float = 2.0
    lstm_layers: int = 2
    rescale: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "channels", "depth", "stride", "growth")
        check_at_least(self, 0, "lstm_layers", "rescale")
        check_odd(self, "context")
        if self.kernel_size < self.stride:
            raise ValueError(
                f"kernel_size must be at least stride ({self.stride}), not {self.kernel_size}"
            )


class BiLSTM(nn.Module):
    """A bidirectional LSTM and a linear layer back to the width of its input, over time."""

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers, bidirectional=True)
        self.linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, F)`` to ``(B, H, F)``."""
        hidden, _ = self.lstm(x.permute(2, 0, 1))
        projected: Tensor = self.linear(hidden)
        return projected.permute(1, 2, 0)


class Demucs(SeparationModel):
    """Estimate every source of a mixture from its waveform: ``(B, C, T)`` to ``(B, S, C, T)``.

    Encoder block: strided convolution, ReLU, 1x1 convolution, GLU. Decoder block: the sum with
    the encoder's output of the same depth, convolution, GLU, transposed convolution, and ReLU but
    for the last. As in the official code since its third version, the decoder's convolution is
    zero-padded (the paper's code and the second version were not), and an input that is not of
    valid length is zero-padded on both sides and its output trimmed to the centre.
    """

    config: DemucsConfig

    def __init__(self, config: DemucsConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        width_in, width = config.num_channels, config.channels
        for index in range(config.depth):
            self.encoder.append(
                nn.Sequential(
                    nn.Conv1d(width_in, width, config.kernel_size, config.stride),
                    nn.ReLU(),
                    nn.Conv1d(width, 2 * width, 1),
                    nn.GLU(dim=1),
                )
            )
            width_out = width_in if index > 0 else len(config.sources) * config.num_channels
            decode: list[nn.Module] = [
                nn.Conv1d(width, 2 * width, config.context, padding=config.context // 2),
                nn.GLU(dim=1),
                nn.ConvTranspose1d(width, width_out, config.kernel_size, config.stride),
            ]
            if index > 0:
                decode.append(nn.ReLU())
            self.decoder.insert(0, nn.Sequential(*decode))
            width_in, width = width, int(config.growth * width)
        self.lstm = BiLSTM(width_in, config.lstm_layers) if config.lstm_layers else None
        if config.rescale:
            rescale_weights(self, config.rescale)

    def valid_length(self, num_samples: int) -> int:
        """Return the shortest length, not under ``num_samples``, that leaves no sample over.

        >>> config = DemucsConfig(
        ...     sources=("a", "b"), sample_rate=44_100, num_channels=2, channels=4, depth=2
        ... )
        >>> Demucs(config).valid_length(41)
        52
        """
        config = self.config
        length = num_samples
        for _ in range(config.depth):
            length = max(1, math.ceil((length - config.kernel_size) / config.stride) + 1)
        for _ in range(config.depth):
            length = (length - 1) * config.stride + config.kernel_size
        return length

    def own_name(self, name: str) -> str:
        """As the official class of version 3 and 4 calls them (:func:`from_official_state`)."""
        return _renamed(name)

    def source_axes(self) -> dict[str, int]:
        """The last layer makes the sources."""
        last = f"decoder.{self.config.depth - 1}.2"
        return {f"{last}.weight": 1, f"{last}.bias": 0}

    def forward(self, mixture: Tensor) -> Tensor:
        """Map mixtures ``(B, C, T)``, any T of at least 1, to estimates ``(B, S, C, T)``."""
        batch, channels, num_samples = mixture.shape
        surplus = self.valid_length(num_samples) - num_samples
        x = F.pad(mixture, (surplus // 2, surplus - surplus // 2))
        skips: list[Tensor] = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        if self.lstm is not None:
            x = self.lstm(x)
        for decode in self.decoder:
            x = decode(x + skips.pop())
        x = x[..., surplus // 2 : surplus // 2 + num_samples]
        return x.reshape(batch, len(self.config.sources), channels, num_samples)


@torch.no_grad()
def rescale_weights(module: nn.Module, reference: float) -> None:
    """Divide each convolution's weights and bias by ``sqrt(std(weights) / reference)``, in place.

    The paper's appendix on initial weight rescaling: it brings their standard deviation to the
    geometric mean of what it was and of ``reference``.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d)):
            # One weight alone has no deviation, nor have weights that are but a shape; leave them.
            if layer.weight.numel() < 2 or layer.weight.is_meta:
                continue
            scale = (layer.weight.std() / reference) ** 0.5
            layer.weight /= scale
            if layer.bias is not None:
                layer.bias /= scale


def from_official_state(
    state: Mapping[str, Tensor], *, of_version_2: bool = False
) -> dict[str, Tensor]:
    """Rename the weights of the official ``demucs.demucs.Demucs`` to those of :class:`Demucs`.

    For the paper's architecture as the official 4.x class builds it (``dconv_mode=0``,
    ``norm_starts`` above ``depth``, ``gelu=False``, ``normalize=False``, ``resample=False``).
    There, and in version 3, unused normalisation layers shift the second convolution of each block
    from place 2 to place 3. Version 2 has no such layers, and did not pad the decoder's
    convolution: a model with its weights is not quite what it was (about 0.2 % rms apart).

    Args:
        state: by the official names.
        of_version_2: take weights of version 2 all the same.

    Raises:
        ValueError: a weight of something this architecture doesn't have, by name; or weights of
            version 2 that nobody asked for.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if not of_version_2 and re.match(r"^(encoder|decoder)\.\d+\.2\.", name):
            raise ValueError(
                f"{name!r} is named as in version 2 of the official demucs, which did not pad the "
                "decoder's convolution: here its model would give something else, about 0.2 % rms "
                "apart; of_version_2 takes it as it is"
            )
        ours = _renamed(name)
        if not re.match(r"^((encoder|decoder)\.\d+\.[02]\.(weight|bias)$|lstm\.)", ours):
            raise ValueError(
                f"{name!r} belongs to a later Demucs (normalisation, residual branches or the "
                "like), not to the architecture of arXiv 1909.01174"
            )
        renamed[ours] = value
    return renamed


def to_official_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of :class:`Demucs` to those of the official class, version 3 and 4."""
    return {
        re.sub(r"^(encoder|decoder)\.(\d+)\.2\.", r"\1.\2.3.", name): value
        for name, value in state.items()
    }


def _renamed(name: str) -> str:
    return re.sub(r"^(encoder|decoder)\.(\d+)\.3\.", r"\1.\2.2.", name)
