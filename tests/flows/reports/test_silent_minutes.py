from __future__ import annotations

import uuid

import numpy as np
import pytest

from flows.reports.silent_minutes import silent_minutes
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import SEGMENTS
from storage.workspace import Workspace

MUSIC = MusicFormat()
SAMPLE_RATE = MUSIC.sample_rate
SOURCES = MUSIC.sources

SEGMENTS_OF = Partition("segments", "music", "f")


def segment(track: str, number: int, start: int, stop: int, silent: list[str]) -> dict[str, object]:
    return {
        "segment_id": f"{track}-{number}", "track_id": track, "path": "p",
        "track_num_samples": 10**6, "start_sample": start, "stop_sample": stop,
        "duration_s": (stop - start) / SAMPLE_RATE, "silent_sources": silent,
        "mean_probability": [1.0] * len(silent), "min_probability": [1.0] * len(silent),
        "level_db": 0.0, "detector_id": "d", "scores_fingerprint": "s", "policy": "{}",
    }  # fmt: skip


@pytest.mark.parametrize("rows_a_track", [1, 7, 9_000])
def test_overlaps_count_once_wherever_batches_end(rows_a_track: int) -> None:
    rng = np.random.default_rng(rows_a_track)
    manifests = Manifests(Workspace(f"memory://{uuid.uuid4().hex}", create=True))
    silent = {(t, s): np.zeros(300_000, dtype=bool) for t in "abc" for s in SOURCES}
    assert rows_a_track == 1 or 3 * rows_a_track % SEGMENTS.rows_a_group
    for part in ("ab", "c"):
        rows = []
        for track in part:
            starts = np.sort(rng.integers(0, 200_000, rows_a_track))
            for number, start in enumerate(starts.tolist()):
                stop = start + int(rng.integers(1, 100_000 // rows_a_track**0.5))
                chosen = [source for source in SOURCES if rng.random() < 0.4]
                rows.append(segment(track, number, start, stop, chosen))
                for source in chosen:
                    silent[track, source][start:stop] = True
        manifests.write(SEGMENTS_OF, list(part), rows)
    samples = {source: sum(silent[t, source].sum() for t in "abc") for source in SOURCES}
    expected = {source: count / SAMPLE_RATE / 60 for source, count in samples.items()}
    assert silent_minutes(manifests, SEGMENTS_OF) == pytest.approx(expected)


def test_nothing_is_no_minutes() -> None:
    manifests = Manifests(Workspace(f"memory://{uuid.uuid4().hex}", create=True))
    assert silent_minutes(manifests, SEGMENTS_OF) == dict.fromkeys(SOURCES, 0.0)
    manifests.write(SEGMENTS_OF, ["a"], [])
    assert silent_minutes(manifests, SEGMENTS_OF) == dict.fromkeys(SOURCES, 0.0)
