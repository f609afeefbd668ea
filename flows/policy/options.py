"""What is extracted, and how sure one must be of it: options of all that extract or calibrate."""

from __future__ import annotations

from dataclasses import fields

from pydantic import Field

from demucs_core.extraction.precision_bound import BoundConfig
from demucs_core.extraction.segments import ExtractionPolicy
from flows.running.parameters import Options

_policy, _bound = ExtractionPolicy(), BoundConfig()


class PolicyOptions(Options):
    """What is extracted, and how sure one must be of it."""

    min_duration_s: float = Field(
        _policy.min_duration_s, gt=0, description="Shortest segment in seconds, guards cut off."
    )
    guard_s: float = Field(
        _policy.guard_s, ge=0, description="Seconds cut from both ends of a silent stretch."
    )
    hysteresis: float = Field(
        _policy.hysteresis, ge=0, description="How far, in log-odds, the probability may fall "
        "below the threshold before a stretch ends."
    )  # fmt: skip
    min_level_db: float = Field(
        _policy.min_level_db, lt=0, description="Level in dBFS below which the music is too quiet."
    )
    max_quiet_s: float = Field(
        _policy.max_quiet_s, ge=0, description="Longest quiet stretch in seconds inside a segment."
    )
    target_precision: float = Field(
        0.95,  # what the 14 songs that MUSDB18 holds out can promise, if they show no error
        gt=0,
        lt=1,
        description="Share of the extracted seconds that must be silent in truth.",
    )
    confidence: float = Field(
        _bound.confidence, gt=0.5, lt=1, description="Confidence of the promise."
    )
    min_songs: int = Field(
        5, ge=2, description="Held-out songs with extracted seconds that a threshold stands on."
    )
    allow_insufficient_evidence: bool = Field(
        False, description="Take the best threshold where the songs held out are too few to "
        "promise the target; what is made with it is marked."
    )  # fmt: skip

    @property
    def policy(self) -> ExtractionPolicy:
        """The extraction policy alone."""
        return ExtractionPolicy(
            **{field.name: getattr(self, field.name) for field in fields(ExtractionPolicy)}
        )
