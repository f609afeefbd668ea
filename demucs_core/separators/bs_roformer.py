"""Band-Split RoFormer (Lu, Wang, Kong, Hung 2023, arXiv 2309.02612) behind our contract.

Shape legend: B batch, S sources, C audio channels, T samples.

The package is ``bs-roformer`` by Phil Wang, the extra of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from demucs_core.configuration import check_at_least, check_even, check_share
from demucs_core.separators.extras import import_extra
from demucs_core.separators.separator import (
    SeparatorConfig,
    WrappedSeparator,
    check_mono_or_stereo,
)

NAME, EXTRA = "bs_roformer", "bs-roformer"
BANDS = (
    *(2 for _ in range(24)),
    *(4 for _ in range(12)),
    *(12 for _ in range(8)),
    *(24 for _ in range(8)),
    *(48 for _ in range(8)),
    128,
    129,
)
"""Bins of each band of the paper's, narrow where instruments are told apart: 1025 in all."""


@dataclass(frozen=True, kw_only=True)
class BSRoFormerConfig(SeparatorConfig):
    """What a :class:`BSRoFormerSeparator` is made of; the defaults are the size of the paper's.

    The fields have the names that the package gives its arguments, and what is not among them is as
    there. Bands are counted in bins of the spectrogram: at another rate than 44.1 kHz they are as
    many, and wider or narrower.

    Attributes:
        dim: width of the transformers.
        depth: pairs of a transformer over time and one over bands.
        time_transformer_depth: layers of the first.
        freq_transformer_depth: layers of the second.
        heads: heads of a layer.
        dim_head: width of a head, even.
        attn_dropout: dropout of the attention while training.
        ff_dropout: dropout of the layers between while training.
        num_residual_streams: hyper-connections of so many streams, the package's addition; 1 is the
            paper's plain residual.
        mask_estimator_depth: layers that estimate a band's mask.
        freqs_per_bands: bins of each band; they must add up to ``stft_n_fft / 2 + 1``.
        stft_n_fft: window of the spectrogram in samples, even.
        stft_hop_length: its hop in samples, at most half of the window.

    Raises:
        ValueError: a field out of range, more than two channels, or bands that don't add up; by
            name.
    """

    dim: int = 384
    depth: int = 12
    time_transformer_depth: int = 1
    freq_transformer_depth: int = 1
    heads: int = 8
    dim_head: int = 64
    attn_dropout: float = 0.0
    ff_dropout: float = 0.0
    num_residual_streams: int = 1
    mask_estimator_depth: int = 2
    freqs_per_bands: tuple[int, ...] = BANDS
    stft_n_fft: int = 2048
    stft_hop_length: int = 441

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "dim", "depth", "time_transformer_depth", "freq_transformer_depth")
        check_at_least(self, 1, "heads", "num_residual_streams", "mask_estimator_depth")
        check_at_least(self, 1, "stft_hop_length")
        check_at_least(self, 2, "dim_head", "stft_n_fft")
        check_share(self, "attn_dropout", "ff_dropout")
        check_even(self, "dim_head", "stft_n_fft")
        if 2 * self.stft_hop_length > self.stft_n_fft:
            raise ValueError(
                f"stft_hop_length must be at most {self.stft_n_fft // 2}, "
                f"not {self.stft_hop_length}"
            )
        num_bins = self.stft_n_fft // 2 + 1
        if len(self.freqs_per_bands) < 2 or min(self.freqs_per_bands) < 1:
            raise ValueError("freqs_per_bands must be at least two bands of at least a bin each")
        if sum(self.freqs_per_bands) != num_bins:
            raise ValueError(
                f"freqs_per_bands must add up to stft_n_fft / 2 + 1 = {num_bins}, "
                f"not to {sum(self.freqs_per_bands)}"
            )
        check_mono_or_stereo(self, NAME)


class BSRoFormerSeparator(WrappedSeparator):
    """Estimate every source of a mixture by a complex mask: ``(B, C, T)`` to ``(B, S, C, T)``."""

    config: BSRoFormerConfig

    def __init__(self, config: BSRoFormerConfig) -> None:
        super().__init__()
        self.config = config
        package = import_extra("bs_roformer", NAME, EXTRA)
        self.net = package.BSRoformer(
            dim=config.dim,
            depth=config.depth,
            stereo=config.num_channels == 2,
            num_stems=len(config.sources),
            time_transformer_depth=config.time_transformer_depth,
            freq_transformer_depth=config.freq_transformer_depth,
            freqs_per_bands=config.freqs_per_bands,
            dim_head=config.dim_head,
            heads=config.heads,
            attn_dropout=config.attn_dropout,
            ff_dropout=config.ff_dropout,
            flash_attn=False,
            num_residual_streams=config.num_residual_streams,
            dim_freqs_in=config.stft_n_fft // 2 + 1,
            stft_n_fft=config.stft_n_fft,
            stft_hop_length=config.stft_hop_length,
            stft_win_length=config.stft_n_fft,
            mask_estimator_depth=config.mask_estimator_depth,
        )
        for layer in self.net.modules():
            if isinstance(getattr(layer, "attend", None), nn.Module):
                layer.attend = _Attend(config.attn_dropout)

    def source_prefix(self, index: int) -> str:
        """Every source has an estimator of masks."""
        return f"net.mask_estimators.{index}."

    def forward(self, mixture: Tensor) -> Tensor:
        """Map mixtures ``(B, C, T)``, any T of at least 1, to estimates ``(B, S, C, T)``."""
        config, num_samples = self.config, mixture.shape[-1]
        # whole hops, since the rest of one is lost on the way back; and audio enough to be
        # reflected at each end
        hop = config.stft_hop_length
        length = -(-max(num_samples, config.stft_n_fft) // hop) * hop
        estimates: Tensor = self.net(F.pad(mixture, (0, length - num_samples)))
        if len(config.sources) == 1:
            estimates = estimates.unsqueeze(1)  # the package drops the axis
        return estimates[..., :num_samples]


class _Attend(nn.Module):
    """Attention as torch computes it best.

    The package's own does the same with a context manager that torch has deprecated, and prints
    what GPU it finds.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend, from queries, keys and values ``(batch, heads, steps, width)``."""
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
