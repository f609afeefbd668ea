"""What every detector of silent sources is: its music, its time grid, what it takes.

Shapes: B batch, C channels, T samples, F frames, S sources.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from demucs_core.configuration import (
    MAX_SAMPLE_RATE,
    check_at_least,
    check_range,
    check_sources,
)
from demucs_core.detector.augmentation import filter_audio

Disturb = Callable[[Tensor], Tensor]
"""Changes a power spectrum ``(C, K, N)`` of mid and side, or of mono, as another copy would."""

MakeInputs = Callable[[Tensor, Disturb], Tensor]
"""Makes of a crop ``(C, T)``, its spectrum changed, what a detector takes of it in training."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """What the configuration of every detector says; each adds fields of its own.

    Attributes:
        sources: sources it tells apart, in the order of its outputs.
        sample_rate: samples a second of the audio it takes.
        num_channels: channels of that audio: 2 for stereo, 1 for mono.
        hop_samples: samples in a frame of its output.

    Raises:
        ValueError: a field out of range, by name.
    """

    sources: tuple[str, ...]
    sample_rate: int
    num_channels: int
    hop_samples: int

    def __post_init__(self) -> None:
        check_sources(self.sources)
        check_at_least(self, 1, "hop_samples")
        check_range(self, 1, MAX_SAMPLE_RATE, "sample_rate")
        if self.num_channels not in (1, 2):
            raise ValueError(f"num_channels must be 1 or 2, not {self.num_channels}")

    @classmethod
    def of(
        cls,
        *,
        sources: tuple[str, ...],
        sample_rate: int,
        num_channels: int,
        hop_samples: int,
        **fields: Any,
    ) -> Self:
        """The configuration for some music, with the defaults that fit its rate and frames."""
        return cls(
            sources=sources,
            sample_rate=sample_rate,
            num_channels=num_channels,
            hop_samples=hop_samples,
            **fields,
        )

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_samples

    def input_maker(self) -> MakeInputs:
        """How a crop becomes what :meth:`TrainedDetector.score_inputs` takes: here, audio still."""
        return lambda audio, disturb: filter_audio(audio, disturb, self.hop_samples)


class SilenceDetector(nn.Module, ABC):
    """Maps audio ``(B, C, T)`` to log-odds of silence ``(B, S, F)``, ``F = ceil(T / hop)``.

    Audio is padded with zeros to whole frames. What it scores depends on ``context_frames`` frames
    on each side of a block of ``block_frames``, and on nothing else of the recording.
    """

    config: DetectorConfig

    @property
    @abstractmethod
    def block_frames(self) -> int:
        """Frames, from the first it is given, that it scores as one."""

    @property
    @abstractmethod
    def context_frames(self) -> int:
        """Frames on each side of a block that its scores can depend on."""


class TrainedDetector(SilenceDetector):
    """A detector that learns from examples, each made ready for it by its ``input_maker``."""

    @abstractmethod
    def score_inputs(self, inputs: Tensor) -> Tensor:
        """A batch of what the configuration's ``input_maker`` makes to log-odds ``(B, S, F)``."""
