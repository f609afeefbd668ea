"""The silent-source detectors by name: for each source and frame, the log-odds that it is silent.

Shapes: B batch, C channels, T samples, F frames, S sources.

The paper (arXiv 1909.01174, section 4) detects silences with the encoder and BiLSTM of Demucs
and a head a source: ``demucs-blstm``. The others hear log-mel bands. Which is the default, and
why: ``docs/design.md``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from demucs_core.detector.config import DetectorConfig, jsonable_detector_config
from demucs_core.detector.log_mel_detector import LogMelDetector
from demucs_core.detector.waveform_detector import WaveformDetector

SilenceDetector: TypeAlias = LogMelDetector | WaveformDetector
"""Maps audio ``(B, C, T)`` to log-odds of silence ``(B, S, F)``, ``F = ceil(T / hop)``."""


def build_detector(config: DetectorConfig) -> SilenceDetector:
    """A fresh detector of the architecture that `config` names.

    >>> import torch
    >>> detector = build_detector(DetectorConfig(hidden_channels=8)).eval()
    >>> detector(torch.zeros(1, 2, 3 * 4096 + 1)).shape
    torch.Size([1, 4, 4])
    """
    return WaveformDetector(config) if config.hears_waveform else LogMelDetector(config)


def detector_config(detector: SilenceDetector) -> dict[str, Any]:
    """The configuration of a detector as JSON-able values, as `parse_detector_config` reads."""
    return jsonable_detector_config(detector.config)
