"""How many minutes of a corpus training can use, by crop length, with masks and without.

Silences come from a ``segments`` manifest, or from the truth about generated songs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demucs_core.activity import ActivityConfig, active_frames
from demucs_core.extraction.segments import ExtractionPolicy, Segment, extract_segments
from demucs_core.extraction.yields import usable_seconds
from flows.studies.songs import MUSIC
from storage.tables.manifests import Manifests, Partition

CERTAIN_THRESHOLD = 0.5
FRAME_RATE = MUSIC.frame_rate
FRAME_S = 1 / FRAME_RATE


@dataclass(frozen=True, kw_only=True)
class UsableMinutes:
    """Minutes of silence that crops of one length can use, each by source ``(S,)``.

    A minute in which two sources are silent counts for both.

    Attributes:
        crop_s: length of a training crop in seconds.
        whole_crops: crops cut side by side from silences as long as a crop: without masks.
        long_enough: all of those silences, as crops at random places in them reach it.
        masked: all silences, however short: with masks.
    """

    crop_s: float
    whole_crops: NDArray[np.float64]
    long_enough: NDArray[np.float64]
    masked: NDArray[np.float64]


def usable_minutes(tracks: Sequence[Sequence[Segment]], crop_s: float) -> UsableMinutes:
    """Count what crops of ``crop_s`` seconds can use of the segments of each track."""

    def minutes(*, masked: bool, shortest_s: float = 0.0) -> NDArray[np.float64]:
        total = np.zeros(len(MUSIC.sources))
        for segments in tracks:
            kept = at_least(segments, shortest_s)
            total += usable_seconds(
                kept, crop_s, masked=masked, num_sources=len(MUSIC.sources),
                hop_samples=MUSIC.hop_samples, sample_rate=MUSIC.sample_rate,
            )  # fmt: skip
        return total / 60

    return UsableMinutes(
        crop_s=crop_s,
        whole_crops=minutes(masked=False),
        long_enough=minutes(masked=True, shortest_s=crop_s),
        masked=minutes(masked=True),
    )


def at_least(segments: Iterable[Segment], shortest_s: float) -> list[Segment]:
    """The segments of at least a length in seconds.

    A source's longest silences are segments themselves, so what is left is what a policy with this
    minimum length would have extracted with the same thresholds.
    """
    frames = ExtractionPolicy(min_duration_s=shortest_s).min_frames(FRAME_RATE) if shortest_s else 0
    return [segment for segment in segments if segment.stop_frame - segment.start_frame >= frames]


def extracted_segments(manifests: Manifests, segments: Partition) -> list[list[Segment]]:
    """The segments of a manifest, track by track."""
    rows = sorted(manifests.rows(segments), key=lambda row: str(row["track_id"]))
    return [
        [_segment(row) for row in of_track]
        for _, of_track in groupby(rows, key=lambda row: row["track_id"])
    ]


def true_segments(
    truth: Iterable[Mapping[str, Any]], policy: ExtractionPolicy
) -> list[list[Segment]]:
    """The segments that a detector which is always right would lead to, track by track.

    Args:
        truth: a row a file and source, with ``path``, ``source``, ``level_db`` and
            ``mixture_level_db`` a frame.
        policy: the extraction policy.
    """
    return list(_true_segments(truth, policy))


def _true_segments(
    truth: Iterable[Mapping[str, Any]], policy: ExtractionPolicy
) -> Iterator[list[Segment]]:
    for _, of_track in groupby(truth, key=lambda row: row["path"]):
        rows = {row["source"]: row for row in of_track}
        mixture_db = np.array(rows[MUSIC.sources[0]]["mixture_level_db"], dtype=np.float32)
        active = np.stack(
            [
                active_frames(
                    np.array(rows[source]["level_db"], dtype=np.float32),
                    mixture_db,
                    ActivityConfig(),
                    MUSIC.hop_samples,
                    MUSIC.sample_rate,
                )
                for source in MUSIC.sources
            ]
        )
        thresholds = [CERTAIN_THRESHOLD] * len(MUSIC.sources)
        yield extract_segments(
            (~active).astype(np.float32), mixture_db, thresholds, policy,
            hop_samples=MUSIC.hop_samples, sample_rate=MUSIC.sample_rate,
        )  # fmt: skip


def _segment(row: Mapping[str, Any]) -> Segment:
    return Segment(
        start_frame=row["start_sample"] // MUSIC.hop_samples,
        stop_frame=-(-row["stop_sample"] // MUSIC.hop_samples),
        start_sample=row["start_sample"],
        stop_sample=row["stop_sample"],
        silent=tuple(MUSIC.sources.index(source) for source in row["silent_sources"]),
        mean_probability=tuple(row["mean_probability"]),
        min_probability=tuple(row["min_probability"]),
        level_db=row["level_db"],
    )
