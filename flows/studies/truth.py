"""How right an extraction was, where the truth about the silences is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from demucs_core.activity import ActivityConfig, active_frames
from demucs_core.extraction.quality import wanted_frames
from demucs_core.extraction.segments import ExtractionPolicy
from flows.inputs.songs import Activity
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition


@dataclass
class SourceQuality:
    """Seconds of one source: extracted, rightly extracted, and that the truth would have given."""

    extracted_s: float = 0.0
    correct_s: float = 0.0
    wanted_s: float = 0.0
    found_s: float = 0.0

    def judge(
        self,
        found: NDArray[np.bool_],
        active: NDArray[np.bool_],
        mixture_level_db: NDArray[np.float32],
        policy: ExtractionPolicy,
        music: MusicFormat,
    ) -> None:
        """Add a track: the frames extracted of it and those in which the source is active."""
        frame_s = 1 / music.frame_rate
        wanted = wanted_frames(
            active, mixture_level_db, policy,
            hop_samples=music.hop_samples, sample_rate=music.sample_rate,
        )  # fmt: skip
        self.extracted_s += float(found.sum()) * frame_s
        self.correct_s += float((found & ~active).sum()) * frame_s
        self.wanted_s += float(wanted.sum()) * frame_s
        self.found_s += float((found & wanted).sum()) * frame_s

    @property
    def precision(self) -> float:
        """Share of the extracted seconds in which the source is silent."""
        return self.correct_s / self.extracted_s if self.extracted_s else float("nan")

    @property
    def recall(self) -> float:
        """Share of what the same policy extracts from the truth that was extracted."""
        return self.found_s / self.wanted_s if self.wanted_s else float("nan")


def extraction_quality(
    manifests: Manifests,
    segments: Partition,
    truth: Iterable[Mapping[str, Any]],
    policy: ExtractionPolicy,
) -> dict[str, SourceQuality]:
    """Compare segments with the true levels of the stems.

    Args:
        manifests: of the workspace.
        segments: the partition to judge.
        truth: a row a file and source, with ``path`` (how the file's URL ends), ``source``,
            ``level_db`` and ``mixture_level_db`` a frame.
        policy: by which they were extracted.
    """
    music = manifests.workspace.music
    hop_samples = music.hop_samples
    extracted: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row in manifests.rows(segments):
        for source in row["silent_sources"]:
            span = (row["start_sample"] // hop_samples, -(-row["stop_sample"] // hop_samples))
            extracted.setdefault((row["track_id"], source), []).append(span)
    quality = {source: SourceQuality() for source in music.sources}
    for track_id, true in _of_tracks(manifests, segments.corpus, truth):
        active = _active(true, music)
        found = np.zeros(len(active), dtype=np.bool_)
        for start, stop in extracted.get((track_id, true["source"]), []):
            found[start:stop] = True
        mixture_level_db = np.array(true["mixture_level_db"], dtype=np.float32)
        quality[true["source"]].judge(found, active, mixture_level_db, policy, music)
    return quality


def rows_of(truth: Path) -> list[dict[str, Any]]:
    """The rows of a file of true levels, as :mod:`demo_corpus.truth` writes it."""
    rows: list[dict[str, Any]] = pq.read_table(truth).to_pylist()
    return rows


def true_activity(
    manifests: Manifests, corpus: str, truth: Iterable[Mapping[str, Any]]
) -> dict[str, Activity]:
    """Where the sources of a corpus's tracks sound, by ``track_id``.

    Args:
        manifests: of the workspace.
        corpus: name of the corpus.
        truth: as ``extraction_quality`` takes it.
    """
    music = manifests.workspace.music
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for track_id, true in _of_tracks(manifests, corpus, truth):
        rows.setdefault(track_id, {})[true["source"]] = true
    return {
        track_id: Activity(
            active=np.stack([_active(sources[name], music) for name in music.sources]),
            level_db=np.array([sources[name]["level_db"] for name in music.sources], np.float32),
            mixture_level_db=np.array(sources[music.sources[0]]["mixture_level_db"], np.float32),
            known=(True,) * len(music.sources),
        )
        for track_id, sources in rows.items()
    }


def _of_tracks(
    manifests: Manifests, corpus: str, truth: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of the truth that are about a track of the corpus, with its ``track_id``."""
    tracks = {
        row["source_url"]: row["track_id"]
        for row in manifests.rows(manifests.latest("tracks", corpus), ["track_id", "source_url"])
    }
    for true in truth:
        url = next((url for url in tracks if url.endswith("/" + true["path"])), None)
        if url is not None:
            yield tracks[url], true


def _active(true: Mapping[str, Any], music: MusicFormat) -> NDArray[np.bool_]:
    level_db = np.array(true["level_db"], dtype=np.float32)
    mixture_level_db = np.array(true["mixture_level_db"], dtype=np.float32)
    return active_frames(
        level_db, mixture_level_db, ActivityConfig(), music.hop_samples, music.sample_rate
    )
