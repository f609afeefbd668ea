"""What makes a detector: its architecture, its sources, its time grid, its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from demucs_core import HOP_SAMPLES, NUM_CHANNELS, SAMPLE_RATE, SOURCES
from demucs_core.detector.log_mel import LogMelConfig

Architecture = Literal["logmel-tcn", "logmel-crnn", "demucs-blstm"]
"""Kinds of network: dilated convolutions or a recurrent net over log-mel bands, or the paper's."""

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
"""Every name that :func:`demucs_core.detector.registry.build_detector` knows."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Everything that decides the shape of a detector."""

    architecture: Architecture = "logmel-crnn"
    """Kind of network, one of `ARCHITECTURES`."""
    sources: tuple[str, ...] = SOURCES
    """Sources it tells apart, in the order of its outputs."""
    sample_rate: int = SAMPLE_RATE
    """Samples a second of the audio it takes."""
    num_channels: int = NUM_CHANNELS
    """Channels of the audio it takes: 1, or 2, of which it hears mid and side."""
    hop_samples: int = HOP_SAMPLES
    """Samples in a frame of its output."""
    features: LogMelConfig = field(default_factory=LogMelConfig)
    """The spectrogram that the log-mel architectures see; four of its hops make one frame."""
    conv_channels: tuple[int, int, int] = (24, 48, 64)
    """Channels of their three convolutions over frequency and time."""
    hidden_channels: int = 128
    """Channels of what they have over time (D)."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Dilations (frames) of ``logmel-tcn``; their sum is what it sees on each side."""
    encoder_channels: int = 16
    """Channels after the first block of ``demucs-blstm``, doubled by each further one. The
    separator of the paper has 64, which a CPU cannot train."""
    recurrent_layers: int = 2
    """Layers of the recurrent net of the other two."""

    @classmethod
    def of_music(
        cls,
        architecture: Architecture,
        *,
        sources: tuple[str, ...],
        sample_rate: int,
        num_channels: int,
        hop_samples: int,
    ) -> DetectorConfig:
        """The default layers of an architecture, for the music of a workspace.

        >>> usual = DetectorConfig(architecture="logmel-tcn")
        >>> usual == DetectorConfig.of_music(
        ...     "logmel-tcn", sources=usual.sources, sample_rate=44_100, num_channels=2,
        ...     hop_samples=4096,
        ... )
        True
        """
        return cls(
            architecture=architecture,
            sources=sources,
            sample_rate=sample_rate,
            num_channels=num_channels,
            hop_samples=hop_samples,
            features=LogMelConfig.at(sample_rate, hop_samples),
        )

    def __post_init__(self) -> None:
        """Refuse what cannot be built, naming the field."""
        if self.architecture not in ARCHITECTURES:
            raise ValueError(
                f"detector architecture {self.architecture!r} is unknown: "
                f"it is one of {', '.join(ARCHITECTURES)}"
            )
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ValueError(f"sources is {self.sources}: it must name each source once")
        if self.num_channels not in (1, 2):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 2")
        if self.hears_waveform:
            if self.hop_samples < 4 or self.hop_samples & (self.hop_samples - 1):
                raise ValueError(f"hop_samples is {self.hop_samples}: it must be a power of two")
        elif self.hop_samples != 4 * self.features.hop_samples:
            raise ValueError(
                f"hop_samples is {self.hop_samples}: it must be four times the hop of the "
                f"features, {self.features.hop_samples}"
            )
        if min(self.conv_channels) < 1 or self.hidden_channels < 2 or self.hidden_channels % 2:
            raise ValueError("conv_channels must be 1 or more, and hidden_channels even")
        if self.encoder_channels < 1 or self.recurrent_layers < 1:
            raise ValueError("encoder_channels and recurrent_layers must be 1 or more")
        if any(dilation < 1 for dilation in self.dilations):
            raise ValueError(f"dilations is {self.dilations}: each must be 1 frame or more")

    @property
    def hears_waveform(self) -> bool:
        """Whether it takes audio as it is, not log-mel bands."""
        return self.architecture == "demucs-blstm"

    @property
    def encoder_strides(self) -> tuple[int, ...]:
        """Of the blocks of ``demucs-blstm``, together a frame: 4 each, or 2 of the last."""
        fours, twos = divmod(self.hop_samples.bit_length() - 1, 2)
        return (4,) * fours + (2,) * twos


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


def jsonable_detector_config(config: DetectorConfig) -> dict[str, Any]:
    """A configuration as JSON-able values; inverse of `parse_detector_config`."""
    return asdict(config)


def _refuse_unknown(values: Mapping[str, Any], config: type[Any], what: str) -> None:
    unknown = sorted(set(values) - {known.name for known in fields(config)})
    if unknown:
        raise ValueError(f"{what} has unknown fields: {', '.join(unknown)}")
