"""What ``yields`` is told: the corpus, and what to try on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.policy.options import PolicyOptions
from flows.running.parameters import CorpusName, WorkParameters


class YieldsParameters(PolicyOptions, WorkParameters):
    """Which scored corpus to look at, and what to try on it."""

    corpus: CorpusName = Field("music", description="Corpus whose scores are read.")
    detector: str = Field(
        "",
        description="Detector that scored, by id or name; empty takes the one named `default`, or "
        "else the newest.",
    )
    thresholds: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999],
        min_length=1,
        description="Probabilities of silence to try; the calibrated ones are added.",
    )
    min_durations_s: list[Annotated[float, Field(gt=0)]] = Field(
        [1.0, 2.0, 3.0, 5.0, 10.0],
        min_length=1,
        description="Shortest segments in seconds to try; min_duration_s is added.",
    )
