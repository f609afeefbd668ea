import numpy as np
import pytest

from demo_corpus.composition import compose
from demo_corpus.harmony import SCALES, Chord, voice_chord
from demo_corpus.palette import ALL, POOLS, SEEN, UNSEEN, pool
from demo_corpus.score import SOURCES, Clock, Song
from demo_corpus.voice import UNPITCHED

SEEDS = range(30)


@pytest.fixture(scope="module")
def songs() -> list[Song]:
    return [compose(np.random.default_rng([5, seed]), ALL, 45.0) for seed in SEEDS]


def test_same_seed_same_song_and_other_seed_another(songs: list[Song]) -> None:
    again = compose(np.random.default_rng([5, 0]), ALL, 45.0)
    assert again == songs[0]
    assert len({song.parts for song in songs}) == len(songs)


def test_songs_differ_in_style_key_tempo_and_form(songs: list[Song]) -> None:
    assert len({song.style for song in songs}) >= 5
    assert len({song.key for song in songs}) >= 6
    assert len({tuple(s.name for s in song.sections) for song in songs}) >= 5
    assert max(song.bpm for song in songs) - min(song.bpm for song in songs) > 40
    assert all(80 <= song.bpm <= 150 for song in songs)


def test_every_source_plays_in_every_song_and_rests_for_seconds_in_most(songs: list[Song]) -> None:
    for source in SOURCES:
        rests = [_longest_rest_s(song, source) for song in songs]
        assert all(rest < song.duration_s for rest, song in zip(rests, songs, strict=True))
        assert np.mean([rest >= 3 for rest in rests]) > 0.7, source


def _longest_rest_s(song: Song, source: str) -> float:
    notes = sorted(
        (note.start_s, note.start_s + note.duration_s)
        for part in song.parts
        if part.source == source
        for note in part.notes
    )
    longest, reached = 0.0, 0.0
    for start, stop in [*notes, (song.duration_s, song.duration_s)]:
        longest, reached = max(longest, start - reached), max(reached, stop)
    return longest


def test_notes_are_in_key_but_for_leading_notes(songs: list[Song]) -> None:
    for song in songs:
        scale = {(song.key + step) % 12 for step in SCALES[song.scale]}
        leading = (song.key + 11) % 12
        pitches = [
            note.pitch % 12
            for part in song.parts
            if not part.is_drum
            for note in part.notes
            if note.vowel not in UNPITCHED
        ]
        assert set(pitches) <= scale | {leading}
        assert np.mean([pitch in scale for pitch in pitches]) > 0.85


def test_notes_lie_within_the_song_and_midi_ranges(songs: list[Song]) -> None:
    for song in songs:
        assert song.duration_s <= 45.0
        for part in song.parts:
            for note in part.notes:
                assert 0 <= note.start_s < song.duration_s
                assert note.duration_s > 0
                assert 0 <= note.pitch <= 127
                assert 1 <= note.velocity <= 127


def test_velocities_and_timing_are_a_humans(songs: list[Song]) -> None:
    for song in songs:
        drums = next(part for part in song.parts if part.source == "drums")
        assert len({note.velocity for note in drums.notes}) >= 8


def test_a_song_only_uses_its_pool() -> None:
    for instruments in (SEEN, UNSEEN):
        allowed = {
            "kit": instruments.kits,
            "bass": instruments.bass,
            "comp": instruments.keys + instruments.guitars + instruments.plucks,
            "pad": instruments.pads,
            "second": instruments.keys + instruments.guitars + instruments.plucks,
            "lead": instruments.leads,
            "singer": instruments.voices,
            "backing": instruments.voices,
        }
        for seed in range(10):
            for part in compose(np.random.default_rng(seed), instruments, 20.0).parts:
                assert part.program in allowed[part.role]


def test_pools_share_no_program() -> None:
    melodic = ("bass", "keys", "guitars", "pads", "plucks", "leads", "voices")
    seen = {program for role in melodic for program in getattr(SEEN, role)}
    unseen = {program for role in melodic for program in getattr(UNSEEN, role)}
    assert not seen & unseen
    assert not set(SEEN.kits) & set(UNSEEN.kits)
    assert [pool(known.name) for known in POOLS] == list(POOLS)


def test_unknown_pool_and_too_short_a_song_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown instrument pool 'brass'; known: seen, unseen"):
        pool("brass")
    with pytest.raises(ValueError, match=r"duration_s must be at least 4\.0, not 3\.0"):
        compose(np.random.default_rng(0), ALL, 3.0)


def test_voicing_moves_little() -> None:
    before = voice_chord(Chord((0, 4, 7), 0), (), 62)
    after = voice_chord(Chord((9, 0, 4), 9), before, 62)
    assert {pitch % 12 for pitch in after} == {9, 0, 4}
    assert sum(abs(a - b) for a, b in zip(before, after, strict=True)) <= 5


def test_swing_delays_offbeats_only() -> None:
    straight = Clock(bpm=120, beats_per_bar=4)
    swung = Clock(bpm=120, beats_per_bar=4, swing_eighths=1 / 6)
    assert swung.seconds(2, 4) == straight.seconds(2, 4)
    # Triplets: the second eighth falls two thirds into the beat of half a second.
    assert swung.seconds(0, 2) - swung.seconds(0, 0) == pytest.approx(1 / 3)
