"""Thresholds that keep a promise: precision of the extracted seconds, on songs held out.

Shapes: S sources, F frames of a song, H thresholds, N songs.

For each source, the extraction policy runs on every song at every threshold of a grid. The
threshold chosen is the lowest at which the lower bound of precision (``precision_bound``) meets the
target, and meets it at every higher threshold that has the evidence to. Going down from the top
and stopping at the first failure tests hypotheses in a fixed order, so that trying many costs
nothing (fixed-sequence testing: Bauer 1991; used so in Angelopoulos et al., "Learn then Test",
arXiv 2110.01052).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demucs_core.extraction.calibration_result import (
    Calibration,
    PrecisionCurve,
    Reliability,
    SourceCalibration,
)
from demucs_core.extraction.precision_bound import BoundConfig, PrecisionBound, songs_needed
from demucs_core.extraction.segments import (
    LOG_ODDS_LIMIT,
    ExtractionPolicy,
    audible_frames,
    silent_frames,
    to_log_odds,
)

LOG_ODDS_GRID = tuple(np.arange(0.0, 12.01, 0.25).tolist())
"""Log-odds at which precision is measured: probabilities from 0.5 to 0.999994. What the detector
itself holds for likelier active is never extracted, however well that went on the held-out songs:
other music is where it would go wrong."""

RELIABILITY_BINS = 10
"""Bins of equal width over [0, 1] in the reliability diagram."""


@dataclass(frozen=True, kw_only=True)
class ScoredSong:
    """A held-out song: what the detector says and what is true.

    Attributes:
        track_id: name of the song.
        probability: probability that each source is silent, ``(S, F)``.
        level_db: level of the mixture, ``(F,)`` dBFS.
        active: where each source is active, ``(S, F)``.
        known: of which sources that is known; the song is no evidence for the others. None: of all.
    """

    track_id: str
    probability: NDArray[np.float32]
    level_db: NDArray[np.float32]
    active: NDArray[np.bool_]
    known: tuple[bool, ...] | None = None

    def knows(self, source: int) -> bool:
        """Whether it is known where a source is active."""
        return self.known is None or self.known[source]


class InsufficientEvidenceError(ValueError):
    """Too few songs, or too many errors, to promise the precision asked for.

    ``calibration`` holds what could be measured: sources without evidence have a threshold of
    infinity (they extract nothing) and a ``problem`` that says what is missing.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        problems = [source.problem for source in calibration.sources if source.problem]
        super().__init__("; ".join(problems))


def calibrate(
    songs: Sequence[ScoredSong],
    policy: ExtractionPolicy,
    sources: Sequence[str],
    *,
    target_precision: float = 0.98,
    bound: BoundConfig | None = None,
    min_songs: int = 5,
    surest_share: float = 1.0,
    seed: int = 0,
    allow_insufficient_evidence: bool = False,
    hop_samples: int,
    sample_rate: int,
) -> Calibration:
    """Choose a threshold a source, for a target precision of what the policy will extract.

    A song is evidence for a source at a threshold if something is extracted of it there. The order
    of songs changes nothing.

    Args:
        songs: held-out songs.
        policy: what will be extracted.
        sources: names of the sources, in the detector's order.
        target_precision: precision of the extracted seconds that is to be promised.
        bound: how surely, and on what assumption.
        min_songs: fewest songs that are evidence.
        surest_share: of the seconds that the threshold so chosen extracts, what a higher one must
            leave; the highest that does is taken. Where fewer songs are evidence for it, less may
            be promised of it than the target.
        seed: decides the random weightings of the bound.
        allow_insufficient_evidence: give a source whose target can't be promised the lowest
            threshold whose plain precision meets it (or, failing that, is highest), and mark it as
            overridden.
        hop_samples: samples in a frame.
        sample_rate: samples a second.

    Raises:
        InsufficientEvidenceError: the target can't be promised for a source: says how many more
            songs it takes, and carries the calibration with those sources refused.
        ValueError: an argument out of range, or a song whose arrays don't fit, by name.
    """
    if not 0 < target_precision < 1:
        raise ValueError(f"target_precision must be above 0 and below 1, not {target_precision}")
    if not 0 < surest_share <= 1:
        raise ValueError(f"surest_share must be above 0 and at most 1, not {surest_share}")
    if min_songs < 2:
        raise ValueError(f"min_songs must be at least 2, not {min_songs}")
    bound = bound or BoundConfig()
    songs = sorted(songs, key=lambda song: song.track_id)
    for song in songs:
        _check_song(song, len(sources))
    frame_rate = sample_rate / hop_samples
    results = []
    for index, name in enumerate(sources):
        evidence = [song for song in songs if song.knows(index)]
        lower = PrecisionBound(len(evidence), bound, np.random.default_rng(seed))
        counts = _count_seconds(evidence, index, policy, frame_rate)
        choice = _choose(counts, lower, target_precision, min_songs)
        problem = None
        overridden = False
        if choice is None:
            problem = _describe_problem(name, counts, lower, target_precision, min_songs, bound)
            if allow_insufficient_evidence:
                choice = _choose_without_evidence(counts, target_precision)
                overridden = True
        if choice is not None and surest_share < 1:
            choice = _surest(counts, choice, surest_share)
        results.append(
            _source_result(
                name,
                counts,
                choice,
                lower,
                sum(len(song.level_db) for song in evidence) / frame_rate,
                problem=problem,
                overridden=overridden,
                reliability=_reliability(evidence, index, policy, frame_rate),
            )
        )
    calibration = Calibration(
        sources=tuple(results),
        target_precision=target_precision,
        confidence=bound.confidence,
        worst_song_error=bound.worst_song_error,
        worst_song_length=bound.worst_song_length,
        num_songs=len(songs),
        duration_s=sum(len(song.level_db) for song in songs) / frame_rate,
    )
    if not allow_insufficient_evidence and any(result.problem for result in results):
        raise InsufficientEvidenceError(calibration)
    return calibration


@dataclass(frozen=True)
class _Counts:
    """Seconds of one source, by threshold and song ``(H, N)``, and what the truth would give."""

    extracted: NDArray[np.float64]
    correct: NDArray[np.float64]
    recalled: NDArray[np.float64]
    recallable_s: float

    @property
    def num_songs(self) -> NDArray[np.int64]:
        return np.asarray(np.count_nonzero(self.extracted > 0, axis=1))

    @property
    def precision(self) -> NDArray[np.float64]:
        total = self.extracted.sum(axis=1)
        share = np.full(total.shape, np.nan)
        np.divide(self.correct.sum(axis=1), total, out=share, where=total > 0)
        return share


def _check_song(song: ScoredSong, num_sources: int) -> None:
    shape = (num_sources, len(song.level_db))
    if song.probability.shape != shape or song.active.shape != shape:
        raise ValueError(
            f"{song.track_id}: probabilities have shape {song.probability.shape} and activity "
            f"{song.active.shape}, expected {shape}"
        )
    if not np.isfinite(song.probability).all():
        raise ValueError(f"{song.track_id}: a probability is NaN")


def _count_seconds(
    songs: Sequence[ScoredSong], source: int, policy: ExtractionPolicy, frame_rate: float
) -> _Counts:
    extracted = np.zeros((len(LOG_ODDS_GRID), len(songs)))
    correct, recalled = np.zeros_like(extracted), np.zeros_like(extracted)
    recallable = 0
    for column, song in enumerate(songs):
        gate = audible_frames(song.level_db, policy, frame_rate)
        active = song.active[source]
        truth = np.where(active, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)
        wanted = silent_frames(truth, 0.0, gate, policy, frame_rate)
        recallable += int(wanted.sum())
        log_odds = to_log_odds(song.probability[source])
        for row, threshold in enumerate(LOG_ODDS_GRID):
            found = silent_frames(log_odds, threshold, gate, policy, frame_rate)
            extracted[row, column] = np.count_nonzero(found)
            correct[row, column] = np.count_nonzero(found & ~active)
            recalled[row, column] = np.count_nonzero(found & wanted)
    return _Counts(
        extracted / frame_rate, correct / frame_rate, recalled / frame_rate, recallable / frame_rate
    )


def _choose(counts: _Counts, lower: PrecisionBound, target: float, min_songs: int) -> int | None:
    """Row of the lowest threshold that keeps the promise, with all above it that could."""
    bounds = lower.lower(counts.correct, counts.extracted)
    # What the bound would be had nothing been wrong: below the target, it could not have failed.
    flawless = lower.lower(counts.extracted, counts.extracted)
    has_evidence = (flawless >= target) & (counts.num_songs >= min_songs)
    chosen = None
    for row in reversed(np.flatnonzero(has_evidence).tolist()):
        if bounds[row] < target:
            break
        chosen = row
    return chosen


def _choose_without_evidence(counts: _Counts, target: float) -> int | None:
    rows = np.flatnonzero(counts.num_songs > 0)
    if len(rows) == 0:
        return None
    precision = counts.precision
    chosen = None
    for row in reversed(rows.tolist()):
        if precision[row] < target:
            break
        chosen = row
    if chosen is None:
        chosen = int(rows[np.argmax(precision[rows])])
    return chosen


def _surest(counts: _Counts, row: int, share: float) -> int:
    """Row of the highest threshold that leaves a share of the seconds of another one."""
    totals = counts.extracted.sum(axis=1)
    return max(row, int(np.flatnonzero(totals >= share * totals[row])[-1]))


def _describe_problem(
    name: str,
    counts: _Counts,
    lower: PrecisionBound,
    target: float,
    min_songs: int,
    bound: BoundConfig,
) -> str:
    """What is missing for one source, in a line."""
    promise = f"a precision of {target:g} with {bound.confidence:.0%} confidence"
    seen = int(counts.num_songs.max(initial=0))
    needed = max(songs_needed(target, bound), min_songs)
    if seen < needed:
        return (
            f"{name}: silences were found in {seen} held-out songs, and {promise} takes "
            f"{needed} without an error: {needed - seen} more are needed"
        )
    precision = np.where(counts.num_songs >= min_songs, counts.precision, np.nan)
    best = int(np.nanargmax(precision))
    for copies in range(2, 101):
        if lower.lower(counts.correct, counts.extracted, copies)[best] >= target:
            return (
                f"{name}: the precision over {seen} held-out songs is {precision[best]:.3f} at "
                f"best, too close to {target:g} to promise it: about {seen * (copies - 1)} more "
                "songs like them are needed"
            )
    return (
        f"{name}: the precision over {seen} held-out songs is {precision[best]:.3f} at best, below "
        f"{target:g}: more songs to calibrate on won't help, a better detector or a lower target "
        "would"
    )


def _source_result(
    name: str,
    counts: _Counts,
    row: int | None,
    lower: PrecisionBound,
    duration_s: float,
    *,
    problem: str | None,
    overridden: bool,
    reliability: Reliability,
) -> SourceCalibration:
    bounds = lower.lower(counts.correct, counts.extracted)
    totals = counts.extracted.sum(axis=1)
    recall = counts.recalled.sum(axis=1) / max(counts.recallable_s, 1e-9)
    precision = counts.precision
    curve = PrecisionCurve(
        log_odds=LOG_ODDS_GRID,
        precision=tuple(None if np.isnan(value) else float(value) for value in precision),
        precision_bound=tuple(bounds.tolist()),
        recall=tuple(recall.tolist()),
        extracted_s=tuple(totals.tolist()),
        num_songs=tuple(counts.num_songs.tolist()),
    )
    found = row is not None and totals[row] > 0
    log_odds = LOG_ODDS_GRID[row] if row is not None else None
    return SourceCalibration(
        source=name,
        threshold=None if log_odds is None else float(1.0 / (1.0 + np.exp(-log_odds))),
        precision=float(precision[row]) if found else None,
        precision_bound=float(bounds[row]) if found else None,
        recall=float(recall[row]) if found else 0.0,
        extracted_s=float(totals[row]) if found else 0.0,
        num_songs=int(counts.num_songs[row]) if found else 0,
        yield_minutes_per_hour=float(60.0 * totals[row] / duration_s) if found else 0.0,
        overridden=overridden,
        problem=problem,
        curve=curve,
        reliability=reliability,
    )


def _reliability(
    songs: Sequence[ScoredSong], source: int, policy: ExtractionPolicy, frame_rate: float
) -> Reliability:
    predicted, silent, frames = (np.zeros(RELIABILITY_BINS) for _ in range(3))
    for song in songs:
        gate = audible_frames(song.level_db, policy, frame_rate)
        probability = song.probability[source, gate].astype(np.float64)
        truth = ~song.active[source, gate]
        bins = np.minimum((probability * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
        predicted += np.bincount(bins, probability, RELIABILITY_BINS)
        silent += np.bincount(bins, truth, RELIABILITY_BINS)
        frames += np.bincount(bins, minlength=RELIABILITY_BINS)
    filled = frames > 0
    return Reliability(
        predicted=_ratio(predicted, frames, filled),
        observed=_ratio(silent, frames, filled),
        num_frames=tuple(frames.astype(int).tolist()),
    )


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.float64], valid: NDArray[np.bool_]
) -> tuple[float | None, ...]:
    return tuple(float(p / w) if ok else None for p, w, ok in zip(part, whole, valid, strict=True))
