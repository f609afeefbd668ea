"""What tracks are like → ``measures``: taken from the samples as they are hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from demucs_core.measures import Measuring
from storage.decoding.loudness import Loudness
from storage.decoding.tags import known_tags


class TrackMeasures:
    """Measures a track block by block.

    Args:
        sample_rate: samples a second.
        num_channels: 1 or 2.
    """

    def __init__(self, sample_rate: int, num_channels: int) -> None:
        self._num_channels = num_channels
        self._measuring = Measuring(sample_rate, num_channels)
        self._loudness = Loudness(sample_rate, num_channels)

    def feed(self, block: memoryview) -> None:
        """Hear interleaved samples of 16 bits."""
        pcm = np.frombuffer(block, np.int16).reshape(-1, self._num_channels)
        self._measuring.feed(pcm)
        self._loudness.feed(pcm)

    def row(self, track_id: str, tags: Mapping[str, str | int]) -> dict[str, Any]:
        """The row of ``measures``, once all was heard."""
        return {
            "track_id": track_id,
            "loudness_lufs": self._loudness.finish(),
            **asdict(self._measuring.finish()),
            **(tags or known_tags({})),
        }
