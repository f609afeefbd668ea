from __future__ import annotations

import numpy as np

from flows.score.report import EXCERPT_S, Track, histogram, look_at
from storage.music_format import MusicFormat

MUSIC = MusicFormat()
HOP_SAMPLES = MUSIC.hop_samples
SAMPLE_RATE = MUSIC.sample_rate
SOURCES = MUSIC.sources

NUM_FRAMES = 600
EXCERPT_FRAMES = round(EXCERPT_S * SAMPLE_RATE / HOP_SAMPLES)


def track(name: str, probability: np.ndarray) -> Track:
    return Track(
        track_id=name,
        path=f"{name}.wav",
        num_samples=NUM_FRAMES * HOP_SAMPLES,
        probability=probability.astype(np.float32),
        level_db=np.full(NUM_FRAMES, -20.0, dtype=np.float32),
    )


def test_what_is_heard_is_where_the_silence_is() -> None:
    sounding = np.full((len(SOURCES), NUM_FRAMES), 0.1)
    silent = sounding.copy()
    silent[1, 200 : 200 + EXCERPT_FRAMES] = 0.999
    doubtful = sounding.copy()
    doubtful[1, 300 : 300 + EXCERPT_FRAMES] = 0.8
    tracks = [track("a", sounding), track("b", silent), track("c", doubtful)]
    look = look_at(iter(tracks), dict.fromkeys(SOURCES, 0.8), MUSIC)
    surest, nearest = look.surest["bass"], look.doubtful["bass"]
    assert (surest.track_id, surest.start_sample) == ("b", 200 * HOP_SAMPLES)
    assert (nearest.track_id, nearest.start_sample) == ("c", 300 * HOP_SAMPLES)
    assert surest.num_samples == EXCERPT_FRAMES * HOP_SAMPLES


def test_every_frame_is_counted_once_and_the_thresholds_are_drawn() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((len(SOURCES), NUM_FRAMES))
    probability[:, 0], probability[:, 1] = 0.0, 1.0
    thresholds = {"drums": 0.5, "bass": 0.9, "other": np.inf, "vocals": 0.7}
    look = look_at(iter([track("a", probability)]), thresholds, MUSIC)
    assert look.counts.sum(axis=1).tolist() == [NUM_FRAMES] * len(SOURCES)
    assert look.above[1] == (probability[1].astype(np.float32) >= 0.9).sum()
    assert "other" not in look.doubtful  # it has no threshold to be near to
    panels = histogram(look, thresholds).axes
    share = 100 * look.above[1] / NUM_FRAMES
    assert panels[1].get_title() == f"bass: {share:.1f} % of frames from 0.9 on"
    assert "refused" in panels[2].get_title()
    assert [len(axes.lines) for axes in panels] == [1, 1, 0, 1]
