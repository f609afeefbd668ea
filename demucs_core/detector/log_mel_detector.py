"""A detector on log-mel bands: convolutions down to the frame grid, then a net over time.

Shapes: B batch, C channels, T samples, F frames, S sources, M mel bands, D hidden channels.

Mid and side log-mel bands, a small convolutional stack down to the frame grid, and over time
either a dilated stack (``logmel-tcn``, as in Bai et al., arXiv 1803.01271, but centred, not
causal) or a bidirectional GRU in blocks (``logmel-crnn``, ``recurrence``). Either way the receptive
field is *finite*: a recording of any length can be scored in chunks with exactly the scores of
one piece, which a recurrent net over all of it or any statistic of the whole file rules out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demucs_core.configuration import check_at_least, check_even
from demucs_core.detector.config import DetectorConfig, Disturb, MakeInputs, TrainedDetector
from demucs_core.detector.log_mel import LogMel, LogMelConfig
from demucs_core.detector.recurrence import BLOCK_FRAMES, CONTEXT_FRAMES, in_blocks


def pad_to_frames(audio: Tensor, hop_samples: int) -> Tensor:
    """Audio ``(B, C, T)`` with zeros at its end up to whole frames.

    Raises:
        ValueError: there is no audio.
    """
    samples = audio.shape[-1]
    if samples == 0:
        raise ValueError("audio has no samples")
    return F.pad(audio, (0, -samples % hop_samples))


@dataclass(frozen=True, kw_only=True)
class LogMelDetectorConfig(DetectorConfig):
    """What both nets have below what they have over time.

    Attributes:
        features: the spectrogram that it sees; four of its hops make one frame.
        conv_channels: channels of the three convolutions over frequency and time.
        hidden_channels: channels of what is over time (D).

    Raises:
        ValueError: a field out of range, by name.
    """

    features: LogMelConfig
    conv_channels: tuple[int, int, int] = (24, 48, 64)
    hidden_channels: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hop_samples != 4 * self.features.hop_samples:
            raise ValueError(
                f"hop_samples must be four times the hop of the features "
                f"({self.features.hop_samples}), not {self.hop_samples}"
            )
        if min(self.conv_channels) < 1:
            raise ValueError(f"conv_channels must be at least 1 each, not {self.conv_channels}")
        check_at_least(self, 1, "hidden_channels")

    @classmethod
    def of(cls, *, sample_rate: int, hop_samples: int, **fields: Any) -> Self:
        """The configuration for some music: its spectrogram scales with the rate and the frame."""
        features = LogMelConfig.at(sample_rate, hop_samples)
        given = {"features": features} | fields
        return super().of(sample_rate=sample_rate, hop_samples=hop_samples, **given)

    def input_maker(self) -> MakeInputs:
        """How a crop ``(C, T)`` becomes log-mel ``(C, M, 4F)``."""
        log_mel = LogMel(self.features, self.sample_rate)

        @torch.no_grad()
        def make(audio: Tensor, disturb: Disturb) -> Tensor:
            return log_mel.compress(disturb(log_mel.spectrum(audio[None])[0]))

        return make


@dataclass(frozen=True, kw_only=True)
class TcnConfig(LogMelDetectorConfig):
    """A dilated stack over time.

    Attributes:
        dilations: dilations (frames); their sum is what it sees on each side.

    Raises:
        ValueError: a field out of range, by name.
    """

    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(dilation < 1 for dilation in self.dilations):
            raise ValueError(f"dilations must be at least 1 frame each, not {self.dilations}")


@dataclass(frozen=True, kw_only=True)
class CrnnConfig(LogMelDetectorConfig):
    """A recurrent net over time.

    Attributes:
        recurrent_layers: its layers.

    Raises:
        ValueError: a field out of range, by name.
    """

    recurrent_layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "recurrent_layers")
        check_even(self, "hidden_channels")


class LogMelDetector(TrainedDetector):
    """Log-mel bands, convolutions, and over time what the configuration's class says."""

    config: TcnConfig | CrnnConfig

    def __init__(self, config: TcnConfig | CrnnConfig) -> None:
        super().__init__()
        self.config = config
        self.features = LogMel(config.features, config.sample_rate)
        num_mels = config.features.num_mels
        first, second, third = config.conv_channels
        self.band_norm = nn.BatchNorm1d(config.num_channels * num_mels)
        self.spectral = nn.Sequential(
            _conv_block(config.num_channels, first, (3, 4), stride=(2, 2)),
            _conv_block(first, second, (3, 4), stride=(2, 2)),
            _conv_block(second, third, (3, 3), stride=(2, 1)),
        )
        bands = math.ceil(math.ceil(math.ceil(num_mels / 2) / 2) / 2)
        self.merge = nn.Sequential(
            nn.Conv1d(third * bands, config.hidden_channels, 1, bias=False),
            nn.BatchNorm1d(config.hidden_channels),
            nn.ReLU(),
        )
        self.temporal: nn.Module
        if isinstance(config, CrnnConfig):
            self.temporal = _Recurrent(config.hidden_channels, config.recurrent_layers)
        else:
            self.temporal = nn.Sequential(
                *(_TemporalBlock(config.hidden_channels, dilation) for dilation in config.dilations)
            )
        self.heads = nn.Conv1d(config.hidden_channels, len(config.sources), 1)

    @property
    def block_frames(self) -> int:
        """Frames that a block of the recurrent net has; the convolutions know none."""
        return BLOCK_FRAMES if isinstance(self.config, CrnnConfig) else 1

    @property
    def context_frames(self) -> int:
        """Frames on each side of a block that its scores can depend on.

        The dilated stack sees the sum of its dilations, the recurrent net ``CONTEXT_FRAMES``. Below
        it, one frame (third convolution), half a frame (second), a quarter (first) and the
        overhang of the window.
        """
        config = self.config
        reach = CONTEXT_FRAMES if isinstance(config, CrnnConfig) else sum(config.dilations)
        window = self.features.margin_samples / config.hop_samples
        return reach + math.ceil(1.75 + window)

    def score_inputs(self, features: Tensor) -> Tensor:
        """Log-mel ``(B, C, M, 4F)``, as ``features`` gives them, to log-odds ``(B, S, F)``."""
        normed = self.band_norm(features.flatten(1, 2)).unflatten(1, features.shape[1:3])
        planes = self.spectral(normed)
        scores: Tensor = self.heads(self.temporal(self.merge(planes.flatten(1, 2))))
        return scores

    def forward(self, audio: Tensor) -> Tensor:
        """Audio ``(B, C, T)`` to log-odds ``(B, S, F)`` that each source is silent."""
        return self.score_inputs(self.features(pad_to_frames(audio, self.config.hop_samples)))


class _TemporalBlock(nn.Module):
    """Residual block: dilated convolution over time, then a mix of channels."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """``(B, D, F)`` to ``(B, D, F)``."""
        return hidden + self.layers(hidden)  # type: ignore[no-any-return]


class _Recurrent(nn.Module):
    """A bidirectional GRU, half of the channels each way."""

    def __init__(self, channels: int, num_layers: int) -> None:
        super().__init__()
        self.gru = nn.GRU(channels, channels // 2, num_layers, batch_first=True, bidirectional=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(B, D, F)`` to ``(B, D, F)``: over all frames in training, else in blocks."""
        return self._run(hidden) if self.training else in_blocks(self._run, hidden)

    def _run(self, hidden: Tensor) -> Tensor:
        steps: Tensor = self.gru(hidden.transpose(1, 2))[0]
        return steps.transpose(1, 2)


def _conv_block(
    channels_in: int, channels_out: int, kernel: tuple[int, int], stride: tuple[int, int]
) -> nn.Sequential:
    # A kernel of 4 with stride 2 and padding 1 halves time symmetrically, so frames stay aligned.
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=(1, 1), bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
