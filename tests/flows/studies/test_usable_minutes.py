from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demucs_core.extraction.segments import ExtractionPolicy, Segment, extract_segments
from flows.reports.silent_minutes import silent_minutes
from flows.studies.usable_minutes import at_least, extracted_segments, true_segments, usable_minutes
from storage.music_format import MusicFormat
from tests.flows.conftest import Finished

MUSIC = MusicFormat()
HOP_SAMPLES = MUSIC.hop_samples
SAMPLE_RATE = MUSIC.sample_rate
SOURCES = MUSIC.sources

FRAME_S = HOP_SAMPLES / SAMPLE_RATE
BASS, VOCALS = SOURCES.index("bass"), SOURCES.index("vocals")


def segment(start_s: float, stop_s: float, *silent: int) -> Segment:
    start, stop = round(start_s / FRAME_S), round(stop_s / FRAME_S)
    return Segment(
        start_frame=start,
        stop_frame=stop,
        start_sample=start * HOP_SAMPLES,
        stop_sample=stop * HOP_SAMPLES,
        silent=silent,
        mean_probability=(1.0,) * len(silent),
        min_probability=(1.0,) * len(silent),
        level_db=-20.0,
    )


def test_without_masks_only_silences_as_long_as_the_crop_count() -> None:
    tracks = [[segment(0, 25, BASS), segment(30, 39, BASS)], [segment(0, 4, VOCALS)]]
    minutes = usable_minutes(tracks, 10.0)
    assert minutes.whole_crops * 60 == pytest.approx([0, 20, 0, 0])
    assert minutes.long_enough * 60 == pytest.approx([0, 25, 0, 0], abs=FRAME_S)
    assert minutes.masked * 60 == pytest.approx([0, 34, 0, 4], abs=2 * FRAME_S)


def test_a_segment_inside_a_longer_one_counts_for_its_own_source_alone() -> None:
    minutes = usable_minutes([[segment(0, 20, BASS), segment(5, 10, BASS, VOCALS)]], 3.0)
    assert minutes.masked * 60 == pytest.approx([0, 20, 0, 5], abs=FRAME_S)
    assert minutes.long_enough * 60 == pytest.approx([0, 20, 0, 5], abs=FRAME_S)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1.5, 2.0, 5.0, 10.0]))
def test_leaving_out_short_segments_is_extracting_with_a_longer_minimum(
    seed: int, shortest_s: float
) -> None:
    rng = np.random.default_rng(seed)
    runs = [np.repeat(rng.random(60) < 0.6, rng.integers(5, 60, 60))[:600] for _ in SOURCES]
    probability = np.stack([np.pad(run, (0, 600 - len(run))) for run in runs]).astype(np.float32)
    level_db = np.full(600, -20, dtype=np.float32)
    found, wanted = (
        extract_segments(
            probability,
            level_db,
            [0.5] * len(SOURCES),
            ExtractionPolicy(min_duration_s=length),
            hop_samples=HOP_SAMPLES,
            sample_rate=SAMPLE_RATE,
        )
        for length in (1.0, shortest_s)
    )
    left = at_least(found, shortest_s)
    assert {(s.start_frame, s.stop_frame) for s in left} == {
        (s.start_frame, s.stop_frame) for s in wanted
    }
    for crop_s in (shortest_s, 2 * shortest_s):
        mine, theirs = usable_minutes([left], crop_s), usable_minutes([wanted], crop_s)
        np.testing.assert_allclose(mine.whole_crops, theirs.whole_crops)
        np.testing.assert_allclose(mine.long_enough, theirs.long_enough)
        np.testing.assert_allclose(mine.masked, theirs.masked)
        assert (mine.whole_crops <= mine.long_enough + 1e-9).all()
        assert (mine.long_enough <= mine.masked).all()


def test_the_truth_gives_the_silences_less_their_guards() -> None:
    frames = round(30 / FRAME_S)
    level_db = np.full((len(SOURCES), frames), -20.0)
    level_db[BASS, : round(12 / FRAME_S)] = -120.0
    mixture_db = np.full(frames, -15.0)
    truth = [
        {
            "path": "song.wav",
            "source": source,
            "level_db": level_db[index].tolist(),
            "mixture_level_db": mixture_db.tolist(),
        }
        for index, source in enumerate(SOURCES)
    ]
    [[found]] = true_segments(truth, ExtractionPolicy(guard_s=0.25))
    assert found.silent == (BASS,)
    assert found.start_frame == 3  # a guard of three frames
    assert found.stop_frame == round(12 / FRAME_S) - 3


def test_the_manifest_gives_the_minutes_that_extract_tells(finished: Finished) -> None:
    segments = finished.manifests.latest("segments", "music")
    minutes = usable_minutes(extracted_segments(finished.manifests, segments), 1.0).masked
    told = silent_minutes(finished.manifests, segments)
    assert sum(told.values()) > 0
    # the last frame of a track may be a part of one
    assert minutes == pytest.approx(list(told.values()), abs=10 * FRAME_S / 60)
