"""How much a corpus gives: usable seconds by threshold, minimum length and crop, before extracting.

Shapes: N tracks, S sources, F frames, H thresholds, L minimum lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from demucs_core.extraction.segments import (
    ExtractionPolicy,
    Segment,
    audible_frames,
    checked_log_odds,
    silent_frames,
    threshold_log_odds,
)
from demucs_core.runs import fill_runs, find_runs


def yield_table(
    probability: NDArray[np.float32],
    level_db: NDArray[np.float32],
    thresholds: Sequence[float],
    min_durations_s: Sequence[float],
    policy: ExtractionPolicy,
    *,
    hop_samples: int,
    sample_rate: int,
) -> NDArray[np.float64]:
    """Seconds of one track that would be extracted of each source: ``(H, L, S)``.

    Writes nothing; sum over tracks for a corpus.

    Args:
        probability: of silence, ``(S, F)``.
        level_db: of the mixture, ``(F,)``.
        thresholds: probabilities, each tried for all sources.
        min_durations_s: shortest segments to try (seconds).
        policy: everything else.
        hop_samples: samples in a frame.
        sample_rate: samples a second.

    Raises:
        ValueError: as :func:`demucs_core.extraction.segments.extract_segments`.
    """
    frame_rate = sample_rate / hop_samples
    gate = audible_frames(level_db, policy, frame_rate)
    log_odds = checked_log_odds(probability, level_db)
    shortest = replace(policy, min_duration_s=min(min_durations_s))
    min_frames = np.array(
        [
            replace(policy, min_duration_s=length).min_frames(frame_rate)
            for length in min_durations_s
        ]
    )
    seconds = np.zeros((len(thresholds), len(min_durations_s), len(log_odds)))
    for row, threshold in enumerate(map(threshold_log_odds, thresholds)):
        for source, odds in enumerate(log_odds):
            mask = silent_frames(odds, threshold, gate, shortest, frame_rate)
            starts, stops = find_runs(mask)
            lengths = stops - starts
            long_enough = lengths[None, :] >= min_frames[:, None]
            seconds[row, :, source] = (long_enough * lengths).sum(axis=1) / frame_rate
    return seconds


def usable_seconds(
    segments: Iterable[Segment],
    crop_s: float,
    *,
    masked: bool,
    num_sources: int,
    hop_samples: int,
    sample_rate: int,
) -> NDArray[np.float64]:
    """Seconds of one track that training crops of ``crop_s`` can use, for each source: ``(S,)``.

    Without masks (the paper) only whole crops inside a segment count: ``floor(length / crop)``
    crops. With masks every second counts. Segments of a source that overlap count once.

    Raises:
        ValueError: crops without length.
    """
    if not crop_s > 0:
        raise ValueError(f"crop_s must be above 0, not {crop_s}")
    by_source: list[list[Segment]] = [[] for _ in range(num_sources)]
    for segment in segments:
        for source in segment.silent:
            by_source[source].append(segment)
    usable = np.zeros(num_sources)
    for source, found in enumerate(by_source):
        if not found:
            continue
        first = np.array([segment.start_frame for segment in found])
        last = np.array([segment.stop_frame for segment in found])
        starts, stops = find_runs(fill_runs(first, last, int(last.max())))
        lengths_s = (stops - starts) * (hop_samples / sample_rate)
        usable[source] = lengths_s.sum() if masked else (lengths_s // crop_s).sum() * crop_s
    return usable


@dataclass(frozen=True, kw_only=True)
class YieldForecast:
    """Hours of one source that a corpus is expected to give, with an interval.

    Attributes:
        hours: expected hours.
        low_hours: lower end of the interval.
        high_hours: upper end of the interval.
    """

    hours: float
    low_hours: float
    high_hours: float


def forecast_yield(
    extracted_s: NDArray[np.floating],
    duration_s: NDArray[np.floating],
    corpus_duration_s: float,
    *,
    confidence: float = 0.9,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> list[YieldForecast]:
    """Hours a source that a whole corpus would give, from a scored random sample of its tracks.

    The ratio of sums is scaled up; the interval is a percentile bootstrap over tracks (Efron &
    Tibshirani 1993, chapter 13).

    Args:
        extracted_s: what was extracted of the sampled tracks, ``(N, S)``.
        duration_s: their length, ``(N,)``.
        corpus_duration_s: length of the whole corpus.
        confidence: of the interval.
        num_bootstrap: resamplings.
        seed: decides them.

    Raises:
        ValueError: fewer than two tracks, or arrays that don't fit.
    """
    num_tracks = len(duration_s)
    if num_tracks < 2 or extracted_s.shape[0] != num_tracks:
        raise ValueError(
            f"a sample of {num_tracks} tracks, extracted seconds of {extracted_s.shape[0]}: "
            "a forecast needs the same two or more tracks in both"
        )
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(num_tracks, np.full(num_tracks, 1 / num_tracks), size=num_bootstrap)
    ratios = (counts @ extracted_s) / (counts @ duration_s)[:, None]
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail], axis=0)
    expected = extracted_s.sum(axis=0) / duration_s.sum()
    hours = corpus_duration_s / 3600
    return [
        YieldForecast(
            hours=float(e * hours), low_hours=float(a * hours), high_hours=float(b * hours)
        )
        for e, a, b in zip(expected, low, high, strict=True)
    ]
