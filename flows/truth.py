"""How right an extraction was, where the truth about the silences is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from demucs_core import HOP_SAMPLES, SAMPLE_RATE, SOURCES
from demucs_core.activity import ActivityConfig, active_frames
from demucs_core.extraction import ExtractionPolicy
from demucs_core.extraction_quality import wanted_frames
from storage.manifests import Manifests, Partition

FRAME_S = HOP_SAMPLES / SAMPLE_RATE


@dataclass
class SourceQuality:
    """Seconds of one source: extracted, rightly extracted, and that the truth would have given."""

    extracted_s: float = 0.0
    correct_s: float = 0.0
    wanted_s: float = 0.0
    found_s: float = 0.0

    @property
    def precision(self) -> float:
        """Share of the extracted seconds in which the source is silent."""
        return self.correct_s / self.extracted_s if self.extracted_s else float("nan")

    @property
    def recall(self) -> float:
        """Share of what the same policy extracts from the truth that was extracted."""
        return self.found_s / self.wanted_s if self.wanted_s else float("nan")


def extraction_quality(
    manifests: Manifests, segments: Partition, truth: Iterable[Mapping[str, Any]]
) -> dict[str, SourceQuality]:
    """Compare segments with the true levels of the stems.

    Args:
        manifests: of the workspace.
        segments: the partition to judge.
        truth: a row a file and source, with ``path`` (how the file's URL ends), ``source``,
            ``level_db`` and ``mixture_level_db`` a frame.
    """
    tracks = {
        row["track_id"]: row["source_url"]
        for row in manifests.rows(
            manifests.latest("tracks", segments.corpus), ["track_id", "source_url"]
        )
    }
    extracted: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row in manifests.rows(segments):
        for source in row["silent_sources"]:
            span = (row["start_sample"] // HOP_SAMPLES, -(-row["stop_sample"] // HOP_SAMPLES))
            extracted.setdefault((tracks[row["track_id"]], source), []).append(span)
    urls = set(tracks.values())
    quality = {source: SourceQuality() for source in SOURCES}
    for true in truth:
        url = next((url for url in urls if url.endswith("/" + true["path"])), None)
        if url is None:
            continue
        mixture = np.array(true["mixture_level_db"], dtype=np.float32)
        level = np.array(true["level_db"], dtype=np.float32)
        active = active_frames(level, mixture, ActivityConfig())
        wanted = wanted_frames(active, mixture, ExtractionPolicy())
        found = np.zeros(len(active), dtype=np.bool_)
        for start, stop in extracted.get((url, true["source"]), []):
            found[start:stop] = True
        judged = quality[true["source"]]
        judged.extracted_s += float(found.sum()) * FRAME_S
        judged.correct_s += float((found & ~active).sum()) * FRAME_S
        judged.wanted_s += float(wanted.sum()) * FRAME_S
        judged.found_s += float((found & wanted).sum()) * FRAME_S
    return quality
