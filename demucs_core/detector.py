"""The silent-source detector: for each source and frame, the log-odds that it is silent.

Shapes: B batch, C channels, T samples, F frames, S sources, M mel bands, D hidden channels.

The paper (arXiv 1909.01174, section 4) detects silences with the encoder and BiLSTM of Demucs
and a head a source. Here: mid and side log-mel bands, a small convolutional stack down to the
frame grid, and a dilated temporal stack (as in Bai et al., arXiv 1803.01271, but centred, not
causal). It hears the same few seconds, costs a hundredth, and its receptive field is *finite*: a
recording of any length can be scored in chunks with exactly the scores of one piece, which a
BiLSTM or any statistic of the whole file rules out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from demucs_core import HOP_SAMPLES, SAMPLE_RATE, SOURCES
from demucs_core.log_mel import LogMel, LogMelConfig

ARCHITECTURES = ("logmel-tcn",)
"""Architectures that :func:`build_detector` knows."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """What makes a detector: its sources, its time grid, its layers."""

    architecture: str = "logmel-tcn"
    """Kind of network, one of `ARCHITECTURES`."""
    sources: tuple[str, ...] = SOURCES
    """Sources it tells apart, in the order of its outputs."""
    sample_rate: int = SAMPLE_RATE
    """Samples a second of the audio it takes."""
    hop_samples: int = HOP_SAMPLES
    """Samples in a frame of its output."""
    features: LogMelConfig = field(default_factory=LogMelConfig)
    """The spectrogram it sees; four of its hops make one frame."""
    conv_channels: tuple[int, int, int] = (24, 48, 64)
    """Channels of the three convolutions over frequency and time."""
    hidden_channels: int = 128
    """Channels of the temporal stack (D)."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Dilations (frames) of the temporal stack; their sum is what it sees on each side."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built, naming the field."""
        if self.architecture not in ARCHITECTURES:
            raise ValueError(
                f"detector architecture {self.architecture!r} is unknown: "
                f"it is one of {', '.join(ARCHITECTURES)}"
            )
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ValueError(f"sources is {self.sources}: it must name each source once")
        if self.hop_samples != 4 * self.features.hop_samples:
            raise ValueError(
                f"hop_samples is {self.hop_samples}: it must be four times the hop of the "
                f"features, {self.features.hop_samples}"
            )
        if min(self.conv_channels) < 1 or self.hidden_channels < 1:
            raise ValueError("conv_channels and hidden_channels must be 1 or more")
        if any(dilation < 1 for dilation in self.dilations):
            raise ValueError(f"dilations is {self.dilations}: each must be 1 frame or more")


class FrameScorer(Protocol):
    """What scores audio frame by frame with a finite receptive field."""

    @property
    def config(self) -> DetectorConfig:
        """Its configuration: sources and time grid."""

    @property
    def context_frames(self) -> int:
        """Frames on each side of a frame that its score can depend on."""

    def __call__(self, audio: Tensor, /) -> Tensor:
        """Audio ``(B, C, T)`` to log-odds of silence ``(B, S, F)``."""


class SilenceDetector(nn.Module):
    """Stereo audio ``(B, 2, T)`` to log-odds of silence ``(B, S, F)``, ``F = ceil(T / hop)``.

    Audio is padded with zeros to whole frames. Output (s, f) depends on samples of the frames
    within `context_frames` of f, and on nothing else of the recording.

    >>> import torch
    >>> detector = SilenceDetector(DetectorConfig(hidden_channels=8)).eval()
    >>> detector(torch.zeros(1, 2, 3 * 4096 + 1)).shape
    torch.Size([1, 4, 4])
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.features = LogMel(config.features, config.sample_rate)
        num_mels = config.features.num_mels
        first, second, third = config.conv_channels
        self.band_norm = nn.BatchNorm1d(2 * num_mels)
        self.spectral = nn.Sequential(
            _conv_block(2, first, (3, 4), stride=(2, 2)),
            _conv_block(first, second, (3, 4), stride=(2, 2)),
            _conv_block(second, third, (3, 3), stride=(2, 1)),
        )
        bands = math.ceil(math.ceil(math.ceil(num_mels / 2) / 2) / 2)
        self.merge = nn.Sequential(
            nn.Conv1d(third * bands, config.hidden_channels, 1, bias=False),
            nn.BatchNorm1d(config.hidden_channels),
            nn.ReLU(),
        )
        self.temporal = nn.Sequential(
            *(_TemporalBlock(config.hidden_channels, dilation) for dilation in config.dilations)
        )
        self.heads = nn.Conv1d(config.hidden_channels, len(config.sources), 1)

    @property
    def context_frames(self) -> int:
        """Frames on each side of a frame that its score can depend on.

        The temporal stack sees the sum of its dilations. Below it, one frame (third convolution),
        half a frame (second), a quarter (first) and the overhang of the window.
        """
        window = self.features.margin_samples / self.config.hop_samples
        return sum(self.config.dilations) + math.ceil(1.75 + window)

    def pad_to_frames(self, audio: Tensor) -> Tensor:
        """Audio ``(B, C, T)`` with zeros at its end up to whole frames."""
        samples = audio.shape[-1]
        if samples == 0:
            raise ValueError("audio has no samples")
        return F.pad(audio, (0, -samples % self.config.hop_samples))

    def score_features(self, features: Tensor) -> Tensor:
        """Log-mel ``(B, 2, M, 4F)``, as `features` gives them, to log-odds ``(B, S, F)``."""
        normed = self.band_norm(features.flatten(1, 2)).unflatten(1, features.shape[1:3])
        planes = self.spectral(normed)
        scores: Tensor = self.heads(self.temporal(self.merge(planes.flatten(1, 2))))
        return scores

    def forward(self, audio: Tensor) -> Tensor:
        """Audio ``(B, 2, T)`` to log-odds ``(B, S, F)`` that each source is silent."""
        return self.score_features(self.features(self.pad_to_frames(audio)))


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


def _conv_block(
    channels_in: int, channels_out: int, kernel: tuple[int, int], stride: tuple[int, int]
) -> nn.Sequential:
    # A kernel of 4 with stride 2 and padding 1 halves time symmetrically, so frames stay aligned.
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=(1, 1), bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def build_detector(config: DetectorConfig) -> SilenceDetector:
    """A fresh detector of the architecture that `config` names."""
    return SilenceDetector(config)


def detector_config(detector: SilenceDetector) -> dict[str, Any]:
    """The configuration of a detector as JSON-able values; inverse of `parse_detector_config`."""
    return asdict(detector.config)


def parse_detector_config(values: Mapping[str, Any]) -> DetectorConfig:
    """Read a detector's configuration back; raises `ValueError` at a field nobody knows.

    >>> parse_detector_config({"hidden": 3})
    Traceback (most recent call last):
    ...
    ValueError: detector configuration has unknown fields: hidden
    """
    _refuse_unknown(values, DetectorConfig, "detector configuration")
    read = dict(values)
    if "features" in read:
        _refuse_unknown(read["features"], LogMelConfig, "detector configuration's features")
        read["features"] = LogMelConfig(**read["features"])
    for name in ("sources", "conv_channels", "dilations"):
        if name in read:
            read[name] = tuple(read[name])
    return DetectorConfig(**read)


def _refuse_unknown(values: Mapping[str, Any], config: type[Any], what: str) -> None:
    unknown = sorted(set(values) - {known.name for known in fields(config)})
    if unknown:
        raise ValueError(f"{what} has unknown fields: {', '.join(unknown)}")
