"""What ``forecast`` is told: the corpus, the sample, the policy."""

from __future__ import annotations

from pydantic import Field

from flows.policy.options import PolicyOptions
from flows.score.options import ScoreParameters

MIN_TRACKS = 2


class ForecastParameters(PolicyOptions, ScoreParameters):
    """Which corpus to sample, and the policy to forecast."""

    sample: int = Field(50, ge=MIN_TRACKS, description="Tracks to draw from the corpus.")
    seed: int = Field(0, ge=0, description="Decides which tracks are drawn.")
