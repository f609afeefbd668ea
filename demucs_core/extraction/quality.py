"""What a policy would extract if the truth were known: the measure of recall.

Shapes: F frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demucs_core.extraction.segments import (
    LOG_ODDS_LIMIT,
    ExtractionPolicy,
    audible_frames,
    silent_frames,
)


def wanted_frames(
    active: NDArray[np.bool_],
    level_db: NDArray[np.float32],
    policy: ExtractionPolicy,
    *,
    hop_samples: int,
    sample_rate: int,
) -> NDArray[np.bool_]:
    """Frames that a perfect detector would lead the policy to extract: ``(F,)`` to ``(F,)``.

    Args:
        active: where the source is active.
        level_db: level of the mixture in dBFS.
        policy: the extraction policy.
        hop_samples: samples in a frame.
        sample_rate: samples a second.
    """
    frame_rate = sample_rate / hop_samples
    certain = np.where(active, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)
    gate = audible_frames(level_db, policy, frame_rate)
    return silent_frames(certain, 0.0, gate, policy, frame_rate)
