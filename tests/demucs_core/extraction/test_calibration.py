from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from demucs_core.extraction.calibration import (
    InsufficientEvidenceError,
    ScoredSong,
    calibrate,
)
from demucs_core.extraction.calibration_result import Calibration
from demucs_core.extraction.precision_bound import ANY_SONGS, BoundConfig
from demucs_core.extraction.segments import ExtractionPolicy, extract_segments

POLICY = ExtractionPolicy()
SOURCES = ("drums", "vocals")
GRID: dict[str, Any] = {"hop_samples": 4096, "sample_rate": 44_100}
RATE = 44_100 / 4096
# Small enough for quick tests, and enough songs for it below.
ENOUGH: dict[str, Any] = {
    "target_precision": 0.95,
    "bound": BoundConfig(num_bootstrap=400),
}


def make_song(
    rng: np.random.Generator, name: str, noise: float = 0.7, bias: float = 0.0
) -> ScoredSong:
    """Stretches of sound and silence of 2 to 20 s, and a detector that is right but noisy."""
    frames = 900
    active = np.zeros((len(SOURCES), frames), dtype=bool)
    for row in active:
        position, sounding = 0, bool(rng.random() < 0.5)
        while position < frames:
            length = int(rng.uniform(2, 20) * RATE)
            row[position : position + length] = sounding
            position, sounding = position + length, not sounding
    blur = rng.standard_normal((len(SOURCES), frames // 25)).repeat(25, axis=1) * noise
    log_odds = np.where(active, -3.0, 3.0) + blur + bias
    probability = (1 / (1 + np.exp(-log_odds))).astype(np.float32)
    return ScoredSong(
        track_id=name,
        probability=probability,
        level_db=np.full(frames, -20.0, np.float32),
        active=active,
    )


def make_songs(count: int, seed: int = 0, **options: float) -> list[ScoredSong]:
    rng = np.random.default_rng(seed)
    return [make_song(rng, f"song {number:03d}", **options) for number in range(count)]


def extracted_precision(songs: list[ScoredSong], calibration: Calibration) -> np.ndarray:
    """Precision of the extracted seconds, by the extraction itself, for each source."""
    right, total = np.zeros(len(SOURCES)), np.zeros(len(SOURCES))
    for song in songs:
        found = extract_segments(
            song.probability, song.level_db, calibration.thresholds, POLICY, **GRID
        )
        for source in range(len(SOURCES)):
            mask = np.zeros(len(song.level_db), dtype=bool)
            for segment in found:
                if source in segment.silent:
                    mask[segment.start_frame : segment.stop_frame] = True
            right[source] += (mask & ~song.active[source]).sum()
            total[source] += mask.sum()
    return right / total


def test_the_precision_promised_is_that_of_what_extraction_gives() -> None:
    songs = make_songs(40, noise=2.0)
    calibration = calibrate(songs, POLICY, SOURCES, **ENOUGH, **GRID)
    for source, precision in zip(
        calibration.sources, extracted_precision(songs, calibration), strict=True
    ):
        assert source.precision == pytest.approx(precision, abs=1e-9)
        assert source.precision is not None
        assert source.precision_bound is not None
        assert source.recall is not None
        assert 0.95 <= source.precision_bound <= source.precision
        assert 0.3 < source.recall <= 1
        assert source.num_songs > 20


def test_the_promise_holds_on_other_songs() -> None:
    calibration = calibrate(make_songs(60, noise=2.0), POLICY, SOURCES, **ENOUGH, **GRID)
    assert (extracted_precision(make_songs(60, 1, noise=2.0), calibration) >= 0.94).all()


def test_the_order_of_songs_changes_nothing() -> None:
    songs = make_songs(30)
    assert calibrate(songs, POLICY, SOURCES, **ENOUGH, **GRID) == calibrate(
        songs[::-1],
        POLICY,
        SOURCES,
        **ENOUGH,
        **GRID,
    )


def test_too_few_songs_are_refused_with_the_number_missing() -> None:
    with pytest.raises(InsufficientEvidenceError, match="36 without an error: 28 more") as refused:
        calibrate(make_songs(8), POLICY, SOURCES, **GRID)
    calibration = refused.value.calibration
    assert calibration.thresholds == (math.inf, math.inf)
    assert not calibration.overridden
    assert "drums" in str(refused.value)
    assert "vocals" in str(refused.value)
    # What was measured is there all the same, for the plots.
    assert max(calibration.sources[0].curve.extracted_s) > 0


def test_no_silence_at_all_is_too_little_evidence() -> None:
    songs = make_songs(8, bias=-20.0)
    with pytest.raises(InsufficientEvidenceError, match="found in 0 held-out songs"):
        calibrate(songs, POLICY, SOURCES, **GRID)
    overridden = calibrate(songs, POLICY, SOURCES, allow_insufficient_evidence=True, **GRID)
    assert overridden.thresholds == (math.inf, math.inf)


def test_an_override_gives_a_threshold_and_is_marked() -> None:
    calibration = calibrate(
        make_songs(8), POLICY, SOURCES, allow_insufficient_evidence=True, **GRID
    )
    assert calibration.overridden
    for source in calibration.sources:
        assert source.overridden
        assert source.problem is not None
        assert source.precision is not None
        assert source.precision_bound is not None
        assert source.precision >= 0.98
        assert source.precision_bound < 0.98


@pytest.mark.parametrize("share", [0.9, 2 / 3, 0.25])
def test_of_the_seconds_the_surest_share_is_kept(share: float) -> None:
    songs = make_songs(40, noise=2.0)
    whole = calibrate(songs, POLICY, SOURCES, **ENOUGH, **GRID)
    surest = calibrate(songs, POLICY, SOURCES, surest_share=share, **ENOUGH, **GRID)
    for one, other in zip(whole.sources, surest.sources, strict=True):
        assert one.threshold is not None
        assert other.threshold is not None
        assert other.threshold > one.threshold
        left = np.array(other.curve.extracted_s) / one.extracted_s
        chosen = np.searchsorted(other.curve.log_odds, -math.log(1 / other.threshold - 1) - 1e-6)
        assert left[chosen] >= share > left[chosen + 1 :].max()


def test_where_all_is_kept_the_threshold_is_the_lowest() -> None:
    calibration = calibrate(make_songs(40, noise=0.0), POLICY, SOURCES, **ENOUGH, **GRID)
    assert [source.threshold for source in calibration.sources] == [0.5, 0.5]


def test_a_bad_detector_is_told_from_too_few_songs() -> None:
    rng = np.random.default_rng(0)
    songs = []
    for number, song in enumerate(make_songs(40)):
        guess = rng.uniform(0.0, 6.0) * np.ones_like(song.probability)
        probability = (1 / (1 + np.exp(-guess))).astype(np.float32)
        songs.append(
            ScoredSong(
                track_id=str(number),
                probability=probability,
                level_db=song.level_db,
                active=song.active,
            )
        )
    with pytest.raises(InsufficientEvidenceError, match="better detector"):
        calibrate(songs, POLICY, SOURCES, **ENOUGH, **GRID)


def test_a_promise_says_what_was_assumed_of_the_worst_song() -> None:
    bound = BoundConfig(num_bootstrap=400, **ANY_SONGS)
    with pytest.raises(InsufficientEvidenceError, match="takes 116 without an error") as refused:
        calibrate(make_songs(30), POLICY, SOURCES, target_precision=0.95, bound=bound, **GRID)
    calibration = refused.value.calibration
    assert (calibration.worst_song_error, calibration.worst_song_length) == (1.0, 2.0)


def test_a_calibration_survives_json() -> None:
    calibration = calibrate(
        make_songs(8), POLICY, SOURCES, allow_insufficient_evidence=True, **GRID
    )
    text = json.dumps(calibration.to_json(), allow_nan=False)
    assert Calibration.from_json(json.loads(text)) == calibration
    before = calibration.to_json()
    assert before.pop("worst_song_length") == 1
    assert Calibration.from_json(before).worst_song_length == 1
    with pytest.raises(ValueError, match="colour"):
        Calibration.from_json(calibration.to_json() | {"colour": 1})


def test_reliability_of_a_sure_and_right_detector_is_at_the_ends() -> None:
    calibration = calibrate(make_songs(30, noise=0.0), POLICY, SOURCES, **ENOUGH, **GRID)
    reliability = calibration.sources[0].reliability
    assert reliability.observed[0] == 0
    assert reliability.observed[-1] == 1
    assert sum(reliability.num_frames) == 30 * 900


def test_a_song_is_evidence_for_what_it_knows_alone() -> None:
    """Wrong activity of a source that the song doesn't know by itself changes nothing."""
    songs = make_songs(40, noise=2.0)
    partly = [
        replace(song, active=np.zeros_like(song.active), known=(False, True))
        if number < 8
        else song
        for number, song in enumerate(songs)
    ]
    for song, whole in zip(partly, songs, strict=True):
        song.active[1:] = whole.active[1:]
    calibration = calibrate(partly, POLICY, SOURCES, **ENOUGH, **GRID)
    assert (
        calibration.sources[1:] == calibrate(songs, POLICY, SOURCES, **ENOUGH, **GRID).sources[1:]
    )
    assert (
        calibration.sources[0] == calibrate(songs[8:], POLICY, SOURCES, **ENOUGH, **GRID).sources[0]
    )
    nobody = [replace(song, known=(False, True)) for song in songs]
    with pytest.raises(InsufficientEvidenceError, match=SOURCES[0]):
        calibrate(nobody, POLICY, SOURCES, **ENOUGH, **GRID)
    override = calibrate(nobody, POLICY, SOURCES, allow_insufficient_evidence=True, **GRID)
    assert override.thresholds[0] == np.inf


def test_bad_input_is_refused_by_name() -> None:
    songs = make_songs(6)
    songs[3].probability[0, 5] = np.nan
    with pytest.raises(ValueError, match="song 003"):
        calibrate(songs, POLICY, SOURCES, **GRID)
    with pytest.raises(ValueError, match="target_precision"):
        calibrate(songs, POLICY, SOURCES, target_precision=1.0, **GRID)
    with pytest.raises(ValueError, match="song 000"):
        calibrate(songs, POLICY, ("drums",), **GRID)
