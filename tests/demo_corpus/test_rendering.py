from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from demo_corpus.composition import compose
from demo_corpus.palette import ALL, HELD_OUT, POOLS, SEEN, UNSEEN, WIDE, InstrumentPool
from demo_corpus.rendering import render
from demo_corpus.sampler import SAMPLE_RATE, Sampler, matching_regions
from demo_corpus.score import SOURCES, Note
from demo_corpus.soundfont import SoundFont, default_soundfont_path, load_soundfont
from demo_corpus.splits import BAND, INSTRUMENTS, KARAOKE, StemSplit, instrument_of
from demo_corpus.truth import frame_levels

MELODIC = ("bass", "keys", "guitars", "pads", "plucks", "leads", "voices")


@pytest.fixture(scope="module")
def soundfont() -> SoundFont:
    return load_soundfont(default_soundfont_path())


def _render(seed: int, duration_s: float = 16.0) -> np.ndarray:
    rng = np.random.default_rng([2, seed])
    return render(rng, compose(rng, ALL, duration_s), ALL)


def test_same_seed_same_samples_and_other_seed_others() -> None:
    stems = _render(0)
    np.testing.assert_array_equal(stems, _render(0))
    other = _render(1)
    length = min(stems.shape[2], other.shape[2])
    assert np.any(stems[..., :length] != other[..., :length])


def test_stems_sound_do_not_clip_and_carry_no_dc() -> None:
    for seed in range(3):
        stems = _render(seed).astype(np.float64) / 32_768
        mixture = stems.sum(axis=0)
        assert 0.5 < np.abs(mixture).max() <= 0.91
        assert np.all(np.abs(stems).max(axis=(1, 2)) > 0.02)
        assert np.abs(mixture.mean(axis=1)).max() < 0.005
        crest_db = 20 * np.log10(np.abs(mixture).max() / np.sqrt(np.mean(mixture**2)))
        assert 9 < crest_db < 26


def test_every_source_is_silent_for_seconds_somewhere() -> None:
    longest = np.zeros(len(SOURCES))
    for seed in range(5):
        for index, stem in enumerate(_render(seed, 30.0)):
            silent = frame_levels(stem.astype(np.float32) / 32_768) < -70
            edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(int), [0]])))
            runs = np.diff(edges.reshape(-1, 2), axis=1)
            longest[index] = max(longest[index], runs.max(initial=0) * 4_096 / SAMPLE_RATE)
    assert np.all(longest >= 3.0), dict(zip(SOURCES, longest, strict=True))


@pytest.mark.parametrize("split", [BAND, KARAOKE], ids=lambda split: split.name)
def test_a_song_is_written_as_other_stems(split: StemSplit) -> None:
    rng = np.random.default_rng([2, 0])
    song = compose(rng, ALL, 16.0)
    stems = render(rng, song, ALL, split=split, sample_rate=16_000, num_channels=1)
    musdb = _render(0)
    assert stems.shape == (len(split.sources), 1, round(musdb.shape[2] * 16_000 / SAMPLE_RATE))
    levels = np.stack([frame_levels(stem.astype(np.float32) / 32_768, 1_486) for stem in stems])
    assert np.abs(stems.sum(axis=0, dtype=np.int32)).max() <= 0.91 * 32_768
    sounding = {split.stem_of(instrument_of(part, n)) for part in song.parts for n in part.notes}
    heard = {name for name, level in zip(split.sources, levels, strict=True) if level.max() > -60}
    assert heard == sounding
    # a stem that the two splits share is silent at the same time in both
    vocals = frame_levels(musdb[SOURCES.index("vocals")].astype(np.float32) / 32_768)
    own = levels[split.sources.index("vocals")]
    size = min(len(vocals), len(own))
    assert np.mean((vocals[:size] < -70) == (own[:size] < -70)) > 0.97


def test_an_instrument_is_in_one_stem() -> None:
    with pytest.raises(ValueError, match="split odd: winds must be in one stem each"):
        StemSplit(name="odd", stems={"all": tuple(i for i in INSTRUMENTS if i != "winds")})
    with pytest.raises(ValueError, match="split odd: bass must be in one stem each"):
        StemSplit(name="odd", stems={"all": INSTRUMENTS, "low": ("bass",)})


@pytest.mark.parametrize(("program", "pitch"), [(0, 60), (33, 40), (40, 69), (56, 65), (52, 62)])
def test_a_note_has_its_pitch(soundfont: SoundFont, program: int, pitch: int) -> None:
    note = Note(start_s=0.0, duration_s=1.0, pitch=pitch, velocity=100)
    audio = Sampler(soundfont).render([note], program, SAMPLE_RATE).sum(axis=0)
    spectrum = np.abs(np.fft.rfft(audio[4_000:40_000], 1 << 17)) ** 2
    correlation = np.fft.irfft(spectrum)
    period = SAMPLE_RATE / (440 * 2 ** ((pitch - 69) / 12))
    low, high = int(period * 0.95), int(period * 1.05) + 1
    best = low + int(np.argmax(correlation[low : high + 1]))
    assert best == pytest.approx(period, rel=0.015, abs=1.0)
    assert correlation[best] > 0.6 * correlation[0]


def test_louder_velocity_is_louder_and_release_ends(soundfont: SoundFont) -> None:
    peaks = []
    for velocity in (40, 80, 120):
        note = Note(start_s=0.1, duration_s=0.3, pitch=60, velocity=velocity)
        audio = Sampler(soundfont).render([note], 0, 3 * SAMPLE_RATE)
        assert np.all(audio[:, : SAMPLE_RATE // 10] == 0)
        assert np.all(audio[:, -SAMPLE_RATE // 2 :] == 0)
        peaks.append(np.abs(audio).max())
    assert peaks[0] < peaks[1] < peaks[2]


def test_every_instrument_sounds_over_the_range_it_is_asked_for(soundfont: SoundFont) -> None:
    for instruments, role in product(POOLS, MELODIC):
        for program in getattr(instruments, role):
            regions = soundfont.regions(program, is_drum=False)
            for pitch in range(26, 90):
                assert matching_regions(regions, pitch, 90, is_drum=False), (program, pitch)


def test_seen_and_unseen_instruments_share_no_recording(soundfont: SoundFont) -> None:
    def samples(instruments: InstrumentPool, role: str) -> set[int]:
        return {
            region.sample
            for program in getattr(instruments, role)
            for region in soundfont.regions(program, is_drum=False)
        }

    for role in MELODIC:
        if role != "voices":
            assert not samples(SEEN, role) & samples(UNSEEN, role), role


def test_the_pools_of_the_study_share_no_recording_in_any_role(soundfont: SoundFont) -> None:
    def samples(instruments: InstrumentPool, roles: Iterable[str] = MELODIC) -> set[int]:
        return {
            region.sample
            for role in roles
            for program in getattr(instruments, role)
            for region in soundfont.regions(program, is_drum=False)
        }

    assert not samples(WIDE) & samples(HELD_OUT)
    assert not samples(WIDE) & samples(UNSEEN)
    instruments = [role for role in MELODIC if role != "voices"]
    assert not samples(HELD_OUT, instruments) & samples(UNSEEN)
    assert not samples(HELD_OUT) & samples(UNSEEN, instruments)
    kits = [set(instruments.kits) for instruments in (WIDE, HELD_OUT, UNSEEN)]
    assert sum(map(len, kits)) == len(set().union(*kits))


def test_unknown_program_and_foreign_file_are_refused(soundfont: SoundFont, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no drum kit 99"):
        soundfont.regions(99, is_drum=True)
    path = tmp_path / "bank.sf2"
    path.write_bytes(b"RIFF....WAVE")
    with pytest.raises(ValueError, match="not a SoundFont 2 file"):
        load_soundfont(path)
