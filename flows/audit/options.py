"""What ``audit`` is told: whose segments to hear, how many, how sure to be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.running.parameters import RUNTIME, CorpusName, StageParameters

QUESTION = ("segments", "draws", "strata", "seed", "target_precision", "confidence")
"""What an audit is about, beside the corpus: that is in the address of the page that asks."""


class AuditParameters(StageParameters):
    """Which segments to listen to, and what to find out."""

    corpus: CorpusName = Field("music", description="Corpus whose segments are heard.")
    segments: str = Field(
        "", description="Fingerprint of the segments; empty takes the last that were extracted."
    )
    draws: int = Field(
        88,
        ge=1,
        le=10_000,
        description="Segments drawn a source; 88 without an error show a precision of 0.95.",
    )
    strata: int = Field(4, ge=1, le=20, description="Classes of score that are drawn from alike.")
    seed: int = Field(0, ge=0, description="Decides what is drawn.")
    target_precision: Annotated[float, RUNTIME] = Field(
        0.95, gt=0, lt=1, description="Share of the seconds that should be silent in truth."
    )
    confidence: Annotated[float, RUNTIME] = Field(
        0.95, gt=0.5, lt=1, description="Confidence of intervals and of the proposed threshold."
    )
    clips_a_page: Annotated[int, RUNTIME] = Field(
        8, ge=1, le=50, description="Players and questions shown at once in the UI."
    )
    timeout_s: Annotated[int, RUNTIME] = Field(
        7 * 24 * 3600, ge=1, description="Seconds to wait for the answers to a page."
    )

    def question(self) -> dict[str, object]:
        """Those of :data:`QUESTION` that are not as usual."""
        return self.model_dump(include=set(QUESTION), exclude_defaults=True)
