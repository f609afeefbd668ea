"""What is extracted, and how sure one must be of it: options of all that extract or calibrate."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from demucs_core.extraction.precision_bound import BoundConfig
from demucs_core.extraction.segments import ExtractionPolicy
from flows.running.parameters import ADDED, InFingerprintUnlessAsBefore, Options

_policy, _bound = ExtractionPolicy(), BoundConfig()


class PolicyOptions(Options):
    """What is extracted, and how sure one must be of it."""

    matters: ClassVar[tuple[str, ...]] = (
        "target_precision",
        "confidence",
        "min_duration_s",
        "min_songs",
        "allow_insufficient_evidence",
    )

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
        # What the 14 songs that MUSDB18 holds out can promise, if they show no error, and if no
        # song is worse than assumed.
        0.95,
        gt=0,
        lt=1,
        description="Share of the extracted seconds that must be silent in truth.",
    )
    confidence: float = Field(
        _bound.confidence, gt=0.5, lt=1, description="Confidence of the promise."
    )
    worst_song_error: Annotated[float, ADDED] = Field(
        _bound.worst_song_error,
        gt=0,
        le=1,
        description="Share that is taken to be wrong in the worst kind of song there is. Where "
        "whole songs may fail, 1.",
    )
    worst_song_length: Annotated[float, ADDED] = Field(
        _bound.worst_song_length,
        gt=0,
        description="Seconds extracted of such a song, as a multiple of the mean over songs. Where "
        "whole songs may fail, 2; with an error of 1, a precision of 0.95 then takes 116 songs, "
        "not 14.",
    )
    surest_share: Annotated[float, InFingerprintUnlessAsBefore(1.0)] = Field(
        0.67,
        gt=0,
        le=1,
        description="Share to keep of the seconds that the thresholds give on the songs held out: "
        "the surest. Of music unlike these songs a detector is sure more often than it is right; "
        "1 keeps all.",
    )
    min_songs: int = Field(
        5, ge=2, description="Held-out songs with extracted seconds that a threshold stands on."
    )
    allow_insufficient_evidence: bool = Field(
        False, description="Take the best threshold where the songs held out are too few to "
        "promise the target; what is made with it is marked."
    )  # fmt: skip

    @property
    def bound(self) -> BoundConfig:
        """How sure one must be, and what is assumed of the worst song."""
        return self.configure(BoundConfig)

    @property
    def policy(self) -> ExtractionPolicy:
        """The extraction policy alone."""
        return self.configure(ExtractionPolicy)
