"""What a calibration found, source by source, as values that JSON holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from demucs_core.extraction.precision_bound import BoundConfig


@dataclass(frozen=True, kw_only=True)
class PrecisionCurve:
    """Precision and recall of the extracted seconds, threshold by threshold (ascending).

    Attributes:
        log_odds: thresholds, in log-odds of silence.
        precision: share of the extracted seconds in which the source is silent; none where none
            are.
        precision_bound: its lower confidence bound over songs.
        recall: share of what the same policy extracts from the truth that was extracted.
        extracted_s: seconds extracted.
        num_songs: songs that something was extracted of.
    """

    log_odds: tuple[float, ...]
    precision: tuple[float | None, ...]
    precision_bound: tuple[float, ...]
    recall: tuple[float, ...]
    extracted_s: tuple[float, ...]
    num_songs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often frames of a probability are silent, over bins of equal width; audible frames.

    Attributes:
        predicted: mean probability in the bin; none where it is empty.
        observed: share of frames that are silent in truth.
        num_frames: frames in the bin.
    """

    predicted: tuple[float | None, ...]
    observed: tuple[float | None, ...]
    num_frames: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SourceCalibration:
    """The threshold of one source and what it promises.

    Attributes:
        source: the source.
        threshold: probability of silence at which a run opens; none where the source is refused.
        precision: precision of the extracted seconds on the held-out songs.
        precision_bound: what is promised: the lower confidence bound of the precision.
        recall: share of what the policy extracts from the truth that is extracted.
        extracted_s: seconds extracted of the held-out songs.
        num_songs: held-out songs that something was extracted of.
        yield_minutes_per_hour: minutes extracted of an hour of the held-out songs.
        overridden: whether the threshold stands on too little evidence, by the user's will.
        problem: what evidence is missing, if any is.
        curve: every threshold of the grid.
        reliability: whether probabilities mean what they say.
    """

    source: str
    threshold: float | None
    precision: float | None
    precision_bound: float | None
    recall: float
    extracted_s: float
    num_songs: int
    yield_minutes_per_hour: float
    overridden: bool
    problem: str | None
    curve: PrecisionCurve
    reliability: Reliability


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds of all sources for one detector and one extraction policy.

    Attributes:
        sources: one for each source of the detector, in its order.
        target_precision: precision asked for.
        confidence: confidence of the bounds.
        worst_song_error: error assumed for the worst kind of song.
        worst_song_length: seconds extracted of it, as multiple of the mean over songs.
        num_songs: held-out songs.
        duration_s: their length.
    """

    sources: tuple[SourceCalibration, ...]
    target_precision: float
    confidence: float
    worst_song_error: float
    worst_song_length: float
    num_songs: int
    duration_s: float

    @property
    def overridden(self) -> bool:
        """Whether any threshold stands on too little evidence, by the user's will."""
        return any(source.overridden for source in self.sources)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Thresholds for ``extract_segments``: infinity for a refused source."""
        return tuple(
            math.inf if source.threshold is None else source.threshold for source in self.sources
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able values; inverse of ``from_json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Read a calibration back; those of 0.1.0 have no length of the worst song.

        Raises:
            ValueError: a field is unknown or missing.
        """
        read = _checked({"worst_song_length": BoundConfig.worst_song_length, **values}, cls)
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
