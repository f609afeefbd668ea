"""A detector made of a separator: a source is silent where hardly anything is left of it.

Shapes: B batch, C channels, T samples, F frames, S sources.

Nothing is trained. A separator takes the music apart, and what it leaves of a source against the
mixture, in dB, becomes log-odds along a straight line; which level is low enough is for calibration
to say, as with every detector. A better separator so makes a better detector, whose silences make a
better separator.

A separator hears all that it is given, so it is given blocks of frames with their neighbourhood, as
recurrent nets are (:mod:`demucs_core.detector.recurrence`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from demucs_core.configuration import check_above
from demucs_core.detector.config import DetectorConfig, SilenceDetector
from demucs_core.detector.log_mel_detector import pad_to_frames
from demucs_core.detector.recurrence import BLOCK_FRAMES, CONTEXT_FRAMES
from demucs_core.separators.inference import estimate
from demucs_core.separators.registry import build_model

TINY = 1e-10
"""Power (-100 dB) below which levels are not told apart."""


@dataclass(frozen=True, kw_only=True)
class SeparatorDetectorConfig(DetectorConfig):
    """The separator, and how its levels become log-odds.

    Attributes:
        separator: its configuration, as its model's description has it; of the same music.
        even_db: level of an estimate against the mixture at which silence is as likely as sound.
        step_db: by how much that is lower for one more in log-odds.
        context_s: stretch over which the mixture's level is averaged, as for activity.

    Raises:
        ValueError: a field out of range, by name, or a separator of other music.
    """

    separator: dict[str, Any]
    even_db: float = -20.0
    step_db: float = 3.0
    context_s: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above(self, 0, "step_db", "context_s")
        for name in ("sources", "sample_rate", "num_channels"):
            mine, theirs = getattr(self, name), self.separator.get(name)
            theirs = tuple(theirs) if isinstance(theirs, list) else theirs
            if mine != theirs:
                raise ValueError(f"the separator's {name} is {theirs!r}, and {mine!r} is wanted")


class SeparatorDetector(SilenceDetector):
    """Audio ``(B, C, T)`` to log-odds of silence ``(B, S, F)``, ``F = ceil(T / hop)``.

    Raises:
        ValueError: the separator takes no pieces as long as a block with its neighbourhood.
    """

    config: SeparatorDetectorConfig

    def __init__(self, config: SeparatorDetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.separator = build_model(config.separator)
        longest = self.separator.longest_segment()
        wanted = (BLOCK_FRAMES + 2 * CONTEXT_FRAMES) * config.hop_samples
        if longest is not None and longest < wanted:
            raise ValueError(
                f"the separator takes pieces of {longest / config.sample_rate:.1f} s at most, and "
                f"a detector made of it needs {wanted / config.sample_rate:.1f} s"
            )

    @property
    def block_frames(self) -> int:
        """Frames of a block that the separator is given with its neighbourhood."""
        return BLOCK_FRAMES

    @property
    def context_frames(self) -> int:
        """Frames on each side of a block that its scores can depend on."""
        return CONTEXT_FRAMES

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """Audio ``(B, C, T)`` to log-odds ``(B, S, F)`` that each source is silent."""
        hop = self.config.hop_samples
        padded = pad_to_frames(audio, hop)
        num_frames = padded.shape[-1] // hop
        parts = []
        for start in range(0, num_frames, BLOCK_FRAMES):
            first = max(0, start - CONTEXT_FRAMES)
            last = min(num_frames, start + BLOCK_FRAMES + CONTEXT_FRAMES)
            scores = self._score_piece(padded[..., first * hop : last * hop])
            parts.append(scores[..., start - first : start - first + BLOCK_FRAMES])
        return torch.cat(parts, dim=-1)

    def _score_piece(self, audio: Tensor) -> Tensor:
        config = self.config
        mixture = _frame_power(audio, config.hop_samples)
        num = max(1, round(config.context_s * config.frame_rate)) // 2 * 2 + 1
        around = F.avg_pool1d(
            mixture[:, None], num, stride=1, padding=num // 2, count_include_pad=False
        )
        left = _frame_power(estimate(self.separator, audio), config.hop_samples)
        relative_db = 10 * torch.log10((left + TINY) / (around + TINY))
        return (config.even_db - relative_db) / config.step_db


def _frame_power(audio: Tensor, hop_samples: int) -> Tensor:
    """Mean power ``(..., F)`` of whole frames of ``(..., C, T)``."""
    frames: Tensor = audio.float().unflatten(-1, (-1, hop_samples))
    return frames.square().mean(dim=(-3, -1))
