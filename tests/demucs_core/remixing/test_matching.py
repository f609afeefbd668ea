from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from demucs_core.remixing.matching import (
    KEY_PROFILES,
    MATCHES,
    Fit,
    Mode,
    TempoKey,
    best_fits,
    estimate_key,
    fit_of,
    key_steps,
    misfit,
    tempo_ratio,
)
from storage.music_format import MusicFormat

MUSIC = MusicFormat()
SOURCES = MUSIC.sources

MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10)

tempos = st.floats(30, 300)
keys = st.tuples(st.integers(0, 11), st.sampled_from(("major", "minor")))
pieces = st.builds(
    lambda tempo, key: TempoKey(tempo_bpm=tempo, tonic=key[0], mode=key[1]), tempos, keys
)


def piece(tempo_bpm: float = 120.0, tonic: int = 0, mode: Mode = "major") -> TempoKey:
    return TempoKey(tempo_bpm=tempo_bpm, tonic=tonic, mode=mode)


def notes(key: TempoKey) -> set[int]:
    scale = MAJOR_SCALE if key.mode == "major" else MINOR_SCALE
    return {(key.tonic + step) % 12 for step in scale}


@given(pieces, pieces)
def test_keys_are_as_far_apart_as_the_notes_they_do_not_share(
    one: TempoKey, other: TempoKey
) -> None:
    assert key_steps(one, other) == key_steps(other, one)
    # beyond five steps the circle closes: the sixth key has a note of the first again
    assert min(key_steps(one, other), 5) == 7 - len(notes(one) & notes(other))


@given(pieces, pieces, st.integers(-3, 3))
def test_half_and_double_tempo_change_nothing(one: TempoKey, other: TempoKey, octaves: int) -> None:
    ratio = tempo_ratio(one, other)
    assert 2**-0.5 - 1e-9 <= ratio <= 2**0.5 + 1e-9
    doubled = piece(other.tempo_bpm * 2.0**octaves)
    there_and_back = np.log2(tempo_ratio(one, doubled) / ratio)
    assert there_and_back == pytest.approx(round(there_and_back), abs=1e-9)
    assert abs(np.log2(tempo_ratio(one, doubled))) == pytest.approx(abs(np.log2(ratio)), abs=1e-9)


@pytest.mark.parametrize("mode", list(KEY_PROFILES))
@given(st.integers(0, 11), st.integers(0, 2**31))
def test_a_key_is_found_from_its_own_profile_with_noise(mode: Mode, tonic: int, seed: int) -> None:
    profile = np.roll(KEY_PROFILES[mode], tonic)
    noise = np.random.default_rng(seed).normal(0, 0.01, 12)
    assert estimate_key(3 * profile + noise + 1) == (tonic, mode)


@pytest.mark.parametrize("chroma", [np.ones(12), np.ones(11), np.full(12, np.nan)])
def test_what_has_no_key_is_refused(chroma: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="12 pitch classes"):
        estimate_key(chroma)


def test_only_what_is_to_be_matched_is_looked_at() -> None:
    segment, stem = piece(120, 0), piece(63, 2, "major")
    found = {
        (match, source): fit_of(match, source, segment, stem)
        for match in MATCHES
        for source in SOURCES
    }
    for source in SOURCES:
        assert found["none", source] == Fit()
        assert found["tempo", source] == Fit(tempo_ratio=1.05)
    assert found["key", "drums"] == Fit()
    assert found["key", "bass"] == Fit(key_steps=2)
    assert found["tempo+key", "drums"] == Fit(tempo_ratio=1.05)
    assert found["tempo+key", "vocals"] == Fit(tempo_ratio=1.05, key_steps=2)


fits = st.builds(Fit, tempo_ratio=st.floats(0.71, 1.41), key_steps=st.integers(0, 6))


@given(st.lists(fits, min_size=1, max_size=8), st.floats(0.01, 0.2), st.integers(0, 6))
def test_all_that_fit_are_best_or_else_the_nearest(
    given_fits: list[Fit], change: float, steps: int
) -> None:
    best = best_fits(given_fits, change, steps)
    assert best
    inside = [
        place
        for place, fit in enumerate(given_fits)
        if fit.tempo_ratio is not None
        and fit.key_steps is not None
        and 1 / (1 + change) <= fit.tempo_ratio <= 1 + change
        and fit.key_steps <= steps
    ]
    values = [misfit(fit, change, steps) for fit in given_fits]
    if inside:
        assert set(inside) <= set(best)
        assert all(values[place] == 0 for place in best)
    assert {values[place] for place in best} == {min(values)}
    assert all(values[place] > min(values) for place in set(range(len(values))) - set(best))


def test_bounds_of_a_tempo_fit_both_ways() -> None:
    assert misfit(Fit(tempo_ratio=1.04), 0.04, 1) == 0
    assert misfit(Fit(tempo_ratio=1 / 1.04), 0.04, 1) == 0
    assert misfit(Fit(tempo_ratio=1.0401), 0.04, 1) > 0
    assert misfit(Fit(tempo_ratio=1.04**2), 0.04, 1) == pytest.approx(1)
    assert misfit(Fit(key_steps=3), 0.04, 1) == 2
    assert misfit(Fit(), 0.04, 1) == 0


@pytest.mark.parametrize(
    "fields", [{"tempo_bpm": 0.0}, {"tempo_bpm": float("nan")}, {"tonic": 12}, {"mode": "dorian"}]
)
def test_what_is_no_tempo_or_key_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tempo_bpm|is no key"):
        piece(**fields)
