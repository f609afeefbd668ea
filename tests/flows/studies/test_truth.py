from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest

from demucs_core.extraction.segments import ExtractionPolicy
from flows.studies.truth import extraction_quality
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

MUSIC = MusicFormat()
HOP_SAMPLES = MUSIC.hop_samples
SAMPLE_RATE = MUSIC.sample_rate

FRAMES = 400
SEGMENTS = Partition("segments", "music", "f1")


def segment(start_frame: int, stop_frame: int) -> dict[str, Any]:
    return {
        "segment_id": uuid.uuid4().hex, "track_id": "t", "path": "audio/t.wav",
        "track_num_samples": FRAMES * HOP_SAMPLES, "start_sample": start_frame * HOP_SAMPLES,
        "stop_sample": stop_frame * HOP_SAMPLES, "duration_s": 1.0, "silent_sources": ["bass"],
        "mean_probability": [1.0], "min_probability": [1.0], "level_db": -20.0,
        "detector_id": "d", "scores_fingerprint": "f", "policy": "{}",
    }  # fmt: skip


def track() -> dict[str, Any]:
    return {
        "track_id": "t", "path": "audio/t.wav", "source_url": "/music/a/song.wav",
        "source_bytes": 1, "num_samples": FRAMES * HOP_SAMPLES, "sample_rate": SAMPLE_RATE,
        "duration_s": 1.0, "peak": 0.5, "gain_db": 0.0, "level_db": -20.0, "truncated": False,
        "content_hash": "h",
    }  # fmt: skip


def silent_bass(start_frame: int, stop_frame: int) -> dict[str, Any]:
    """The truth of a song whose bass is silent in these frames."""
    level = np.full(FRAMES, -20.0, dtype=np.float32)
    level[start_frame:stop_frame] = -120.0
    return {
        "path": "a/song.wav", "source": "bass", "level_db": level,
        "mixture_level_db": np.full(FRAMES, -15.0, dtype=np.float32),
    }  # fmt: skip


def test_precision_and_recall_are_counted_in_seconds() -> None:
    manifests = Manifests(Workspace(f"memory://{uuid.uuid4().hex}", create=True))
    manifests.write(Partition("tracks", "music", "f1"), ["t"], [track()])
    # the bass is silent in frames 100 to 300; 50 frames of one segment lie outside
    manifests.write(SEGMENTS, ["t"], [segment(250, 350), segment(120, 170), segment(150, 170)])
    truth = silent_bass(100, 300)
    other_file = {**truth, "path": "nowhere.wav"}
    found = extraction_quality(manifests, SEGMENTS, [truth, other_file], ExtractionPolicy())["bass"]
    frame_s = HOP_SAMPLES / SAMPLE_RATE
    assert found.extracted_s == pytest.approx(150 * frame_s)
    assert found.precision == pytest.approx(100 / 150)
    # the policy's guards keep 3 frames off each end of what the truth would give
    assert found.wanted_s == pytest.approx(194 * frame_s)
    assert found.recall == pytest.approx((297 - 250 + 50) / 194)


def test_recall_is_of_what_the_same_policy_would_give() -> None:
    """A silence of 2.5 s is nothing to a policy that wants three."""
    manifests = Manifests(Workspace(f"memory://{uuid.uuid4().hex}", create=True))
    manifests.write(Partition("tracks", "music", "f1"), ["t"], [track()])
    manifests.write(SEGMENTS, ["t"], [segment(103, 124)])
    truth = [silent_bass(100, 127)]
    recalls = [
        extraction_quality(manifests, SEGMENTS, truth, ExtractionPolicy(min_duration_s=min_s))
        for min_s in (1.5, 3.0)
    ]
    assert recalls[0]["bass"].recall == 1
    assert recalls[1]["bass"].wanted_s == 0
