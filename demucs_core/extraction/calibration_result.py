"""What a calibration found, source by source, as values that JSON holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PrecisionCurve:
    """Precision and recall of the extracted seconds, threshold by threshold (ascending)."""

    log_odds: tuple[float, ...]
    """Thresholds, in log-odds of silence."""
    precision: tuple[float | None, ...]
    """Share of the extracted seconds in which the source is silent; none where none are."""
    precision_bound: tuple[float, ...]
    """Its lower confidence bound over songs."""
    recall: tuple[float, ...]
    """Share of what the same policy extracts from the truth that was extracted."""
    extracted_s: tuple[float, ...]
    """Seconds extracted."""
    num_songs: tuple[int, ...]
    """Songs that something was extracted of."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often frames of a probability are silent, over bins of equal width; audible frames."""

    predicted: tuple[float | None, ...]
    """Mean probability in the bin; none where it is empty."""
    observed: tuple[float | None, ...]
    """Share of frames that are silent in truth."""
    num_frames: tuple[int, ...]
    """Frames in the bin."""


@dataclass(frozen=True, kw_only=True)
class SourceCalibration:
    """The threshold of one source and what it promises."""

    source: str
    """The source."""
    threshold: float | None
    """Probability of silence at which a run opens; none where the source is refused."""
    precision: float | None
    """Precision of the extracted seconds on the held-out songs."""
    precision_bound: float | None
    """What is promised: the lower confidence bound of the precision."""
    recall: float
    """Share of what the policy extracts from the truth that is extracted."""
    extracted_s: float
    """Seconds extracted of the held-out songs."""
    num_songs: int
    """Held-out songs that something was extracted of."""
    yield_minutes_per_hour: float
    """Minutes extracted of an hour of the held-out songs."""
    overridden: bool
    """Whether the threshold stands on too little evidence, by the user's will."""
    problem: str | None
    """What evidence is missing, if any is."""
    curve: PrecisionCurve
    """Every threshold of the grid."""
    reliability: Reliability
    """Whether probabilities mean what they say."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds of all sources for one detector and one extraction policy."""

    sources: tuple[SourceCalibration, ...]
    """One for each source of the detector, in its order."""
    target_precision: float
    """Precision asked for."""
    confidence: float
    """Confidence of the bounds."""
    worst_song_error: float
    """Error assumed for the worst kind of song."""
    num_songs: int
    """Held-out songs."""
    duration_s: float
    """Their length."""

    @property
    def overridden(self) -> bool:
        """Whether any threshold stands on too little evidence, by the user's will."""
        return any(source.overridden for source in self.sources)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Thresholds for `extract_segments`: infinity for a refused source."""
        return tuple(
            math.inf if source.threshold is None else source.threshold for source in self.sources
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able values; inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Read a calibration back; raises `ValueError` at a field that is unknown or missing."""
        read = _checked(values, cls)
        read["sources"] = tuple(_source_from_json(source) for source in read["sources"])
        return cls(**read)


def _source_from_json(values: Mapping[str, Any]) -> SourceCalibration:
    read = _checked(values, SourceCalibration)
    for name, part in (("curve", PrecisionCurve), ("reliability", Reliability)):
        arrays = _checked(read[name], part)
        read[name] = part(**{key: tuple(array) for key, array in arrays.items()})
    return SourceCalibration(**read)


def _checked(values: Mapping[str, Any], result: type[Any]) -> dict[str, Any]:
    wrong = sorted(set(values) ^ {known.name for known in fields(result)})
    if wrong:
        raise ValueError(f"a calibration has unknown or missing fields: {', '.join(wrong)}")
    return dict(values)
