"""From probabilities of silence to segments: stretches in which sources are surely silent.

Shapes: S sources, F frames of a track.

For each source by itself: hysteresis turns probabilities into runs, a guard is cut from both
ends of each run, stretches in which the whole mixture is quiet are cut out, and what is left must
have the minimum length. Every run that remains, of any source, is a segment; it carries the set
of *all* sources silent throughout it. A long silence of one source that contains a shorter one of
another so gives two segments, the shorter one inside the longer: the loss of a partition into
groups can use both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from demucs_core.activity import power, to_db
from demucs_core.configuration import check_above, check_at_least, check_below
from demucs_core.runs import close_short_gaps, counts_before, drop_short_runs, fill_runs, find_runs

LOG_ODDS_LIMIT = 16.0
"""Log-odds are taken as at most this: about where a float32 probability is 1."""


@dataclass(frozen=True, kw_only=True)
class ExtractionPolicy:
    """How runs of probability become segments; every field changes what is extracted.

    Attributes:
        min_duration_s: shortest segment (seconds), guards already cut off.
        guard_s: cut from both ends of a run (seconds, rounded up to frames): a detector is least
            sure where a source enters or leaves, and reverberation outlives a source.
        hysteresis: a run opens where the log-odds of silence reach those of the threshold, and goes
            on while they stay above them less this. In log-odds, so that it means the same at any
            threshold.
        min_level_db: level of the mixture (dBFS) below which a frame is quiet: a segment that is
            silent altogether teaches nothing.
        max_quiet_s: a quiet stretch of the mixture longer than this (seconds) is cut out and parts
            a segment; shorter ones, the rests of music, stay in it.

    Raises:
        ValueError: a field out of range, by name.
    """

    min_duration_s: float = 3.0
    guard_s: float = 0.25
    hysteresis: float = 1.0
    min_level_db: float = -45.0
    max_quiet_s: float = 1.0

    def __post_init__(self) -> None:
        check_at_least(self, 0, "guard_s", "hysteresis", "max_quiet_s")
        check_above(self, 0, "min_duration_s")
        check_below(self, 0, "min_level_db")

    def min_frames(self, frame_rate: float) -> int:
        """Frames of the shortest segment."""
        return max(1, int(np.ceil(self.min_duration_s * frame_rate - 1e-9)))

    def guard_frames(self, frame_rate: float) -> int:
        """Frames cut from each end of a run."""
        return int(np.ceil(self.guard_s * frame_rate - 1e-9))


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of a track in which ``silent`` sources are silent and something else sounds.

    Attributes:
        start_frame: first frame.
        stop_frame: frame after the last.
        start_sample: first sample.
        stop_sample: sample after the last; the track's end where its last frame is not full.
        silent: indexes of the sources silent throughout, in order.
        mean_probability: mean probability of silence over the segment, for each of ``silent``.
        min_probability: least probability of silence in the segment, for each of ``silent``.
        level_db: RMS level of the mixture over the segment (dBFS).
    """

    start_frame: int
    stop_frame: int
    start_sample: int
    stop_sample: int
    silent: tuple[int, ...]
    mean_probability: tuple[float, ...]
    min_probability: tuple[float, ...]
    level_db: float


def extract_segments(
    probability: NDArray[np.float32],
    level_db: NDArray[np.float32],
    thresholds: Sequence[float] | NDArray[np.floating],
    policy: ExtractionPolicy,
    *,
    num_samples: int | None = None,
    hop_samples: int,
    sample_rate: int,
) -> list[Segment]:
    """Segments of one track, by start and stop.

    Args:
        probability: of silence, ``(S, F)``.
        level_db: of the mixture, ``(F,)``.
        thresholds: the probability at which a run opens, for each source; ``inf`` extracts nothing
            of it.
        policy: how runs become segments.
        num_samples: length of the track; ``F * hop_samples`` if not given.
        hop_samples: samples in a frame.
        sample_rate: samples a second.

    Raises:
        ValueError: shapes that do not fit, a threshold that is NaN, a probability that is NaN or
            outside [0, 1].
    """
    masks = extracted_frames(
        probability,
        level_db,
        thresholds,
        policy,
        hop_samples=hop_samples,
        sample_rate=sample_rate,
    )
    intervals = {
        (int(start), int(stop))
        for mask in masks
        for start, stop in zip(*find_runs(mask), strict=True)
    }
    silent_before = np.stack([counts_before(mask) for mask in masks])
    samples = len(level_db) * hop_samples if num_samples is None else num_samples
    segments = []
    for start, stop in sorted(intervals):
        silent = np.flatnonzero(silent_before[:, stop] - silent_before[:, start] == stop - start)
        inside = probability[silent, start:stop]
        segments.append(
            Segment(
                start_frame=start,
                stop_frame=stop,
                start_sample=start * hop_samples,
                stop_sample=min(stop * hop_samples, samples),
                silent=tuple(int(source) for source in silent),
                mean_probability=tuple(inside.mean(axis=1, dtype=np.float64).tolist()),
                min_probability=tuple(inside.min(axis=1).astype(float).tolist()),
                level_db=float(to_db(power(level_db[start:stop]).mean(keepdims=True))[0]),
            )
        )
    return segments


def extracted_frames(
    probability: NDArray[np.float32],
    level_db: NDArray[np.float32],
    thresholds: Sequence[float] | NDArray[np.floating],
    policy: ExtractionPolicy,
    *,
    hop_samples: int,
    sample_rate: int,
) -> NDArray[np.bool_]:
    """Frames of each source ``(S, F)`` that lie in a segment.

    Arguments and errors are those of :func:`extract_segments`.
    """
    log_odds = checked_log_odds(probability, level_db)
    if len(thresholds) != len(log_odds):
        raise ValueError(f"{len(thresholds)} thresholds for {len(log_odds)} sources")
    frame_rate = sample_rate / hop_samples
    gate = audible_frames(level_db, policy, frame_rate)
    return np.stack(
        [
            silent_frames(row, threshold_log_odds(float(threshold)), gate, policy, frame_rate)
            for row, threshold in zip(log_odds, thresholds, strict=True)
        ]
    )


def silent_frames(
    log_odds: NDArray[np.float64],
    threshold: float,
    gate: NDArray[np.bool_],
    policy: ExtractionPolicy,
    frame_rate: float,
) -> NDArray[np.bool_]:
    """Frames ``(F,)`` that the policy extracts of one source, from its log-odds of silence.

    ``threshold`` is in log-odds, ``gate`` the mask of ``audible_frames``.
    """
    starts, stops = find_runs(log_odds >= threshold - policy.hysteresis)
    opens = counts_before(log_odds >= threshold)
    guard = policy.guard_frames(frame_rate)
    keep = (opens[stops] > opens[starts]) & (stops - starts > 2 * guard)
    mask = fill_runs(starts[keep] + guard, stops[keep] - guard, len(log_odds)) & gate
    return drop_short_runs(mask, policy.min_frames(frame_rate))


def audible_frames(
    level_db: NDArray[np.float32], policy: ExtractionPolicy, frame_rate: float
) -> NDArray[np.bool_]:
    """Frames ``(F,)`` of music: not in a stretch of quiet longer than the policy allows."""
    loud = level_db >= policy.min_level_db
    return close_short_gaps(loud, int(policy.max_quiet_s * frame_rate) + 1)


def threshold_log_odds(probability: float) -> float:
    """Log-odds of a threshold; that of 1 or more, as of ``inf``, is infinite.

    Raises:
        ValueError: the threshold is 0, negative or NaN.
    """
    if np.isnan(probability) or probability <= 0:
        raise ValueError(
            "a threshold must be above 0, or inf for a source that nothing is to be extracted "
            f"of, not {probability}"
        )
    if probability >= 1:
        return float("inf")
    return float(np.log(probability) - np.log1p(-probability))


def to_log_odds(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-odds of probabilities, within ``LOG_ODDS_LIMIT`` of 0."""
    p = probability.astype(np.float64)
    with np.errstate(divide="ignore"):
        log_odds: NDArray[np.float64] = np.log(p) - np.log1p(-p)
    return np.clip(log_odds, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)


def checked_log_odds(
    probability: NDArray[np.float32], level_db: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Log-odds ``(S, F)`` of a track's probabilities ``(S, F)``, if they and its levels are sound.

    Raises:
        ValueError: shapes that do not fit, a probability that is NaN or outside [0, 1], a level
            that is NaN.
    """
    if probability.ndim != 2 or level_db.shape != probability.shape[1:]:
        raise ValueError(
            f"probabilities have shape {probability.shape} and levels {level_db.shape}: "
            "they must be (S, F) and (F,)"
        )
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability of silence is NaN or not between 0 and 1")
    if np.isnan(level_db).any():
        raise ValueError("a level of the mixture is NaN")
    return to_log_odds(probability)


def keep_sure(segment: Segment, least_scores: Sequence[float | None]) -> Segment | None:
    """Keep a segment's silent sources whose mean probability is high enough.

    Args:
        segment: as it was extracted.
        least_scores: for every source, the least mean probability, compared in single precision as
            it is stored; None keeps none.

    Returns:
        The segment with the sources that are left, or None if none is.
    """
    kept = [
        place
        for place, (source, mean) in enumerate(
            zip(segment.silent, segment.mean_probability, strict=True)
        )
        if (least := least_scores[source]) is not None and np.float32(mean) >= np.float32(least)
    ]
    if not kept:
        return None
    return replace(
        segment,
        silent=tuple(segment.silent[place] for place in kept),
        mean_probability=tuple(segment.mean_probability[place] for place in kept),
        min_probability=tuple(segment.min_probability[place] for place in kept),
    )
