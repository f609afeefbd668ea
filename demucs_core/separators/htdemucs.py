"""Hybrid Transformer Demucs (Rouard, Massa, Défossez 2022, arXiv 2211.08553) behind our contract.

Shape legend: B batch, S sources, C audio channels, T samples.

The package is ``demucs`` (4.1), in the extra ``htdemucs``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from demucs_core.configuration import check_above, check_at_least, check_range, check_share
from demucs_core.separators.extras import import_extra
from demucs_core.separators.separator import SeparatorConfig, WrappedSeparator

NAME, EXTRA = "htdemucs", "htdemucs"
OURS = ("sample_rate", "num_channels", "segment_s", "sources")
"""Fields that the authors' class calls otherwise."""
AXES = {"weight": 1, "bias": 0}
"""Of a transposed convolution's output."""


@dataclass(frozen=True, kw_only=True)
class HTDemucsConfig(SeparatorConfig):
    """What an :class:`HTDemucsSeparator` is made of; the defaults are those of their ``htdemucs``.

    The fields have the names that the authors' class gives its arguments, and what is not among
    them is as there.

    Attributes:
        channels: hidden channels after the first block, a multiple of ``dconv_comp``.
        growth: factor of the hidden channels from one block to the next.
        depth: blocks on the way down, and up.
        nfft: window of the spectrogram in samples, a power of two; it must leave at least two
            frequencies after ``depth`` blocks.
        bottom_channels: width of the transformer; 0 takes that of the innermost block.
        norm_starts: first block with group normalisation.
        dconv_mode: residual branches in the encoder (1), the decoder (2), both (3), or none (0).
        dconv_depth: layers of a residual branch.
        dconv_comp: how much narrower it is.
        t_layers: layers of the transformer; 0 leaves it out.
        t_heads: its heads.
        t_hidden_scale: how much wider its hidden layers are.
        t_dropout: its dropout while training.
        rescale: reference standard deviation of the initial weights; 0 leaves them alone.
        segment_s: length of what it is trained on, in seconds. In separation it gets pieces of that
            length, since a transformer does worse at any other.

    Raises:
        ValueError: a field out of range, or one that doesn't go with another; by name.
    """

    channels: int = 48
    growth: int = 2
    depth: int = 4
    nfft: int = 4096
    bottom_channels: int = 512
    norm_starts: int = 4
    dconv_mode: int = 3
    dconv_depth: int = 2
    dconv_comp: int = 8
    t_layers: int = 5
    t_heads: int = 8
    t_hidden_scale: float = 4.0
    t_dropout: float = 0.0
    rescale: float = 0.1
    segment_s: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "channels", "growth", "depth", "dconv_depth", "dconv_comp")
        check_at_least(self, 1, "t_heads")
        check_at_least(self, 0, "bottom_channels", "norm_starts", "t_layers", "rescale")
        check_share(self, "t_dropout")
        check_above(self, 0, "t_hidden_scale", "segment_s")
        check_range(self, 0, 3, "dconv_mode")
        if self.dconv_mode and self.channels % self.dconv_comp:
            raise ValueError(
                f"channels must be a multiple of dconv_comp ({self.dconv_comp}), "
                f"not {self.channels}"
            )
        if self.nfft & (self.nfft - 1) or self.nfft < 4 * 4**self.depth:
            raise ValueError(
                f"nfft must be a power of two of at least {4 * 4**self.depth} for depth "
                f"{self.depth}, not {self.nfft}"
            )
        # positions are told in four quarters of the width
        width, multiple = self.transformer_width, 4
        if self.t_layers and (width % self.t_heads or width % multiple):
            raise ValueError(
                f"bottom_channels: the transformer's width, here {width}, must be a multiple of "
                f"t_heads ({self.t_heads}) and of {multiple}"
            )

    @property
    def transformer_width(self) -> int:
        """Channels of the transformer."""
        return self.bottom_channels or self.channels * self.growth ** (self.depth - 1)

    def arguments(self) -> dict[str, Any]:
        """What the authors' class is called with."""
        own = [field.name for field in fields(self) if field.name not in OURS]
        return {
            "sources": list(self.sources),
            "audio_channels": self.num_channels,
            "samplerate": self.sample_rate,
            "segment": self.segment_s,
            **{name: getattr(self, name) for name in own},
        }


class HTDemucsSeparator(WrappedSeparator):
    """Estimate every source of a mixture from waveform and spectrogram.

    ``(B, C, T)`` to ``(B, S, C, T)``. Instead of the length of the last training batch, which the
    authors' class remembers, what counts is ``segment_s``.
    """

    config: HTDemucsConfig

    def __init__(self, config: HTDemucsConfig) -> None:
        super().__init__()
        self.config = config
        self.net = import_extra("demucs.htdemucs", NAME, EXTRA).HTDemucs(
            **config.arguments(), use_train_segment=False
        )

    def longest_segment(self) -> int:
        """Samples that it is trained on."""
        return round(self.config.segment_s * self.config.sample_rate)

    def valid_length(self, num_samples: int) -> int:
        """Separation gives it real audio up to the length that it is trained on."""
        return max(num_samples, self.longest_segment())

    def source_axes(self) -> dict[str, int]:
        """The last layer of either branch makes the sources."""
        last = self.config.depth - 1
        names = (f"net.{branch}.{last}.conv_tr" for branch in ("decoder", "tdecoder"))
        return {f"{name}.{kind}": axis for name in names for kind, axis in AXES.items()}

    def forward(self, mixture: Tensor) -> Tensor:
        """Map mixtures ``(B, C, T)``, any T of at least 1, to estimates ``(B, S, C, T)``."""
        config, num_samples = self.config, mixture.shape[-1]
        # at least two steps in the innermost layers of either branch
        length = max(num_samples, config.nfft // 2, 2 * 4**config.depth)
        if not self.training:
            length = self.valid_length(length)
        estimates: Tensor = self.net(F.pad(mixture, (0, length - num_samples)))
        return estimates[..., :num_samples]
