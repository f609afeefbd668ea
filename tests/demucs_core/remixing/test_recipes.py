from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from demucs_core.remixing.matching import Fit, Match, TempoKey
from demucs_core.remixing.recipes import DrawnStem, RemixConfig, SilentSegment, draw_recipes
from demucs_core.remixing.stem_pool import LabelledSong, StemPool
from storage.music_format import MusicFormat

MUSIC = MusicFormat()
SOURCES = MUSIC.sources

HOP = 4096
FRAMES = 600
GRID: dict[str, int] = {"hop_samples": HOP, "sample_rate": 44_100}


def make_song(number: int, silent: Sequence[int] = ()) -> LabelledSong:
    rng = np.random.default_rng(number)
    active = np.repeat(rng.random((4, FRAMES // 50)) < 0.7, 50, axis=1)
    active[list(silent)] = False
    level = rng.normal([[-18], [-22], [-25], [-20]], 2.0, (4, FRAMES))
    return LabelledSong(
        track_id=f"song {number}",
        num_samples=FRAMES * HOP - 100,
        active=active,
        level_db=np.where(active, level, -110.0).astype(np.float32),
    )


@pytest.fixture(scope="module")
def songs() -> dict[str, LabelledSong]:
    return {song.track_id: song for song in (make_song(number) for number in range(12))}


@pytest.fixture(scope="module")
def pool(songs: dict[str, LabelledSong]) -> StemPool:
    return StemPool(list(songs.values()), SOURCES, **GRID)


def make_segments(
    count: int, silent: tuple[str, ...] = ("bass",), seconds: int = 6
) -> list[SilentSegment]:
    return [
        SilentSegment(
            segment_id=f"segment {number}",
            num_samples=seconds * 44_100,
            silent=silent,
            level_db=-17.0,
        )
        for number in range(count)
    ]


segments = st.builds(
    SilentSegment,
    segment_id=st.text(max_size=8),
    num_samples=st.integers(1, 120 * 44_100),
    silent=st.sets(st.sampled_from(SOURCES), min_size=1, max_size=4).map(
        lambda s: tuple(sorted(s))
    ),
    level_db=st.floats(-45, 0),
)


@settings(max_examples=100, deadline=None)
@given(segments, st.integers(0, 2**31))
def test_excerpts_are_active_fit_and_belong_to_silent_sources(
    songs: dict[str, LabelledSong], pool: StemPool, segment: SilentSegment, seed: int
) -> None:
    for recipe in draw_recipes([segment], pool, remixes_per_segment=3, seed=seed):
        sources = [stem.source for stem in recipe.added]
        assert len(set(sources)) == len(sources)
        assert set(sources) <= set(segment.silent)
        assert sources or len(segment.silent) >= 3
        for stem in recipe.added:
            song = songs[stem.stem_track_id]
            start = stem.stem_start_sample // HOP
            assert song.active[SOURCES.index(stem.source), start]
            assert 1 <= stem.stem_num_samples <= min(segment.num_samples, 30 * 44_100)
            assert stem.stem_start_sample + stem.stem_num_samples <= song.num_samples
            assert abs(stem.gain_db) <= RemixConfig().max_gain_db


def test_most_of_an_excerpt_is_active(songs: dict[str, LabelledSong], pool: StemPool) -> None:
    shares = []
    for recipe in draw_recipes(make_segments(200), pool, remixes_per_segment=1, seed=0):
        (stem,) = recipe.added
        row = songs[stem.stem_track_id].active[1]
        start = stem.stem_start_sample // HOP
        shares.append(row[start : start + -(-6 * 44_100 // HOP)].sum() / (6 * 44_100 / HOP))
    assert np.mean(np.array(shares) >= 0.6) > 0.99


def test_a_recipe_depends_on_its_segment_alone(
    songs: dict[str, LabelledSong], pool: StemPool
) -> None:
    several = make_segments(20, ("bass", "drums", "vocals"))
    drawn = draw_recipes(several, pool, remixes_per_segment=2, seed=3)
    shuffled_pool = StemPool(list(songs.values())[::-1], SOURCES, **GRID)
    again = draw_recipes(several[::-1], shuffled_pool, remixes_per_segment=4, seed=3)
    by_key = {(recipe.segment_id, recipe.index): recipe for recipe in again}
    assert all(by_key[recipe.segment_id, recipe.index] == recipe for recipe in drawn)
    assert draw_recipes(several, pool, remixes_per_segment=2, seed=4) != drawn


def test_levels_follow_the_labelled_set(songs: dict[str, LabelledSong], pool: StemPool) -> None:
    """The level of stem and gain against the segment has the distribution of the songs."""
    relative = []
    for recipe in draw_recipes(make_segments(400), pool, remixes_per_segment=1, seed=0):
        (stem,) = recipe.added
        song = songs[stem.stem_track_id]
        start = stem.stem_start_sample // HOP
        stop = start + -(-stem.stem_num_samples // HOP)
        active = song.active[1, start:stop]
        energy = 10 ** (song.level_db[1, start:stop].astype(float)[active] / 10)
        relative.append(10 * np.log10(energy.mean()) + stem.gain_db + 17.0)
    assert ks_2samp(relative, pool.relative_levels_db("bass")).pvalue > 0.01


def test_subsets_of_every_size_occur_and_pure_stems_too(pool: StemPool) -> None:
    silent = ("drums", "bass", "vocals")
    recipes = draw_recipes(make_segments(300, silent), pool, remixes_per_segment=1, seed=0)
    sizes = [len(recipe.added) for recipe in recipes]
    assert {0, 1, 2, 3} == set(sizes)
    assert 0.15 < np.mean(np.array(sizes) == 0) < 0.35
    by_source = dict.fromkeys(silent, 0)
    for recipe in recipes:
        for stem in recipe.added:
            by_source[stem.source] += 1
    assert min(by_source.values()) > 0.8 * max(by_source.values())


def with_tempo(song: LabelledSong, tempo_bpm: float, tonic: int) -> LabelledSong:
    return replace(song, tempo_key=TempoKey(tempo_bpm=tempo_bpm, tonic=tonic, mode="major"))


@pytest.fixture(scope="module")
def tuned_pool(songs: dict[str, LabelledSong]) -> StemPool:
    """Songs 0 to 5 at 100 to 150 bpm in keys a semitone apart; the others nobody has heard."""
    tuned = [with_tempo(songs[f"song {n}"], 100.0 + 10 * n, n) for n in range(6)]
    return StemPool([*tuned, *(songs[f"song {n}"] for n in range(6, 12))], SOURCES, **GRID)


def matched(
    pool: StemPool,
    match: Match,
    segment_tempo_key: TempoKey | None,
    silent: tuple[str, ...] = ("bass",),
    **fields: Any,
) -> list[DrawnStem]:
    segments = [
        replace(segment, tempo_key=segment_tempo_key) for segment in make_segments(60, silent)
    ]
    config = RemixConfig(match=match, **fields)
    recipes = draw_recipes(segments, pool, remixes_per_segment=2, seed=0, config=config)
    return [stem for recipe in recipes for stem in recipe.added]


def names(stems: list[DrawnStem]) -> set[str]:
    return {stem.stem_track_id for stem in stems}


IN_C = TempoKey(tempo_bpm=55.0, tonic=0, mode="major")


def test_stems_are_drawn_among_the_songs_that_fit(tuned_pool: StemPool) -> None:
    by_tempo = matched(tuned_pool, "tempo", IN_C, max_tempo_change=0.1)
    assert names(by_tempo) == {"song 0", "song 1", "song 2"}
    for stem in by_tempo:
        assert stem.fit.tempo_ratio is not None
        assert 1 / 1.1 <= stem.fit.tempo_ratio <= 1.1
        assert stem.fit.key_steps is None
    by_key = matched(tuned_pool, "key", IN_C)
    assert names(by_key) == {"song 0", "song 5"}
    assert {(stem.stem_track_id, stem.fit.key_steps) for stem in by_key} == {
        ("song 0", 0), ("song 5", 1)
    }  # fmt: skip
    both = matched(tuned_pool, "tempo+key", IN_C, max_tempo_change=0.1)
    assert names(both) == {"song 0"}


def test_where_none_fits_the_nearest_is_taken_and_says_so(tuned_pool: StemPool) -> None:
    in_a_flat = TempoKey(tempo_bpm=117.0, tonic=8, mode="major")
    (near,) = {stem.fit for stem in matched(tuned_pool, "tempo", in_a_flat, max_tempo_change=0.01)}
    assert near.tempo_ratio == pytest.approx(120 / 117)
    by_key = matched(tuned_pool, "key", in_a_flat, max_key_steps=0)
    assert {(stem.stem_track_id, stem.fit.key_steps) for stem in by_key} == {
        ("song 1", 1), ("song 3", 1)
    }  # fmt: skip


def test_drums_are_matched_by_tempo_only(tuned_pool: StemPool) -> None:
    drums = matched(tuned_pool, "tempo+key", IN_C, ("drums",), max_tempo_change=0.1)
    assert names(drums) == {"song 0", "song 1", "song 2"}
    assert {stem.fit.key_steps for stem in drums} == {None}
    free = matched(tuned_pool, "key", IN_C, ("drums",))
    assert {stem.fit.key_steps for stem in free} == {None}


def test_without_a_known_tempo_nothing_is_matched(pool: StemPool, tuned_pool: StemPool) -> None:
    plain = matched(tuned_pool, "none", IN_C)
    for stems in (matched(tuned_pool, "tempo", None), matched(pool, "tempo", IN_C)):
        assert stems == plain
        assert {stem.fit for stem in stems} == {Fit()}
    assert len(names(plain)) > 6


def test_matched_excerpts_are_active_and_follow_their_song_alone(
    songs: dict[str, LabelledSong], tuned_pool: StemPool
) -> None:
    stems = matched(tuned_pool, "tempo", IN_C, max_tempo_change=0.1)
    for stem in stems:
        frame = stem.stem_start_sample // HOP
        assert songs[stem.stem_track_id].active[1, frame]
    # as in the whole pool, every active frame is as likely as another
    counts = {name: sum(stem.stem_track_id == name for stem in stems) for name in names(stems)}
    active = {name: int(songs[name].active[1].sum()) for name in counts}
    for name, count in counts.items():
        expected = len(stems) * active[name] / sum(active.values())
        assert abs(count - expected) < 4 * expected**0.5


def test_a_source_without_stems_is_named() -> None:
    silent_bass = StemPool([make_song(number, silent=[1]) for number in range(3)], SOURCES, **GRID)
    with pytest.raises(ValueError, match="bass"):
        draw_recipes(make_segments(1), silent_bass, remixes_per_segment=1, seed=0)
    with pytest.raises(ValueError, match="piano"):
        draw_recipes(make_segments(1, ("piano",)), silent_bass, remixes_per_segment=1, seed=0)


def test_bad_input_is_refused(pool: StemPool) -> None:
    with pytest.raises(ValueError, match="remixes_per_segment"):
        draw_recipes(make_segments(1), pool, remixes_per_segment=0, seed=0)
    wrong_fields: dict[str, Any] = {"min_active_share": 2.0, "match": "mood", "max_key_steps": 7}
    for field, value in wrong_fields.items():
        with pytest.raises(ValueError, match=field):
            RemixConfig(**{field: value})
    song = make_song(0)
    wrong = LabelledSong(
        track_id="wrong", num_samples=5, active=song.active, level_db=song.level_db
    )
    with pytest.raises(ValueError, match="wrong"):
        StemPool([wrong], SOURCES, **GRID)


def test_one_source_alone_is_silent_where_one_is_asked_for(pool: StemPool) -> None:
    config = RemixConfig(one_source=True)
    found = draw_recipes(
        make_segments(200, silent=("bass", "other", "vocals")),
        pool,
        remixes_per_segment=1,
        seed=3,
        config=config,
    )
    for recipe in found:
        assert recipe.silent == tuple(stem.source for stem in recipe.added)
    counts = [sum(recipe.silent == (source,) for recipe in found) for source in SOURCES]
    assert sum(counts) == 200
    assert counts[0] == 0
    assert min(counts[1:]) > 40


def test_else_all_silent_sources_are_made_use_of(pool: StemPool) -> None:
    [recipe] = draw_recipes(
        make_segments(1, silent=("bass", "vocals")), pool, remixes_per_segment=1, seed=3
    )
    assert recipe.silent == ("bass", "vocals")


def test_segments_shorter_than_asked_for_are_passed_over(pool: StemPool) -> None:
    short, long = make_segments(2, seconds=9), make_segments(3, seconds=10)
    config = RemixConfig(min_segment_s=10)
    found = draw_recipes([*short, *long], pool, remixes_per_segment=2, seed=0, config=config)
    assert found == draw_recipes(long, pool, remixes_per_segment=2, seed=0)
    with pytest.raises(ValueError, match="min_segment_s must be at least 0, not -1"):
        RemixConfig(min_segment_s=-1)
