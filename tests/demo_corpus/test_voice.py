"""What makes a voice of a patch: overtones, vowels that glide, consonants."""

import numpy as np
import pytest
from scipy import signal

from demo_corpus.palette import POOLS
from demo_corpus.sampler import SAMPLE_RATE, Audio, Sampler
from demo_corpus.score import Note, Part
from demo_corpus.soundfont import default_soundfont_path, load_soundfont
from demo_corpus.voice import UNPITCHED, Singer

VOICES = sorted({program for pool in POOLS for program in pool.voices})
PITCH, PITCH_HZ = 57, 220.0


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler(load_soundfont(default_soundfont_path()))


def sung(sampler: Sampler, program: int, vowel: str) -> Audio:
    note = Note(start_s=0.0, duration_s=1.0, pitch=PITCH, velocity=95, vowel=vowel)
    part = Part(source="vocals", role="singer", program=program, notes=(note,))
    singer = Singer(np.random.default_rng(0), (1.0, 1.0))
    return np.asarray(singer.sing(sampler, part, SAMPLE_RATE).mean(axis=0), np.float32)


def band_db(audio: Audio, low_hz: float, high_hz: float) -> float:
    """Level of a band against the whole."""
    hertz, power = signal.welch(audio, SAMPLE_RATE, nperseg=4096)
    return float(10 * np.log10(power[(hertz >= low_hz) & (hertz < high_hz)].sum() / power.sum()))


@pytest.mark.parametrize("program", VOICES)
def test_every_patch_has_overtones_for_the_vowel_to_shape(sampler: Sampler, program: int) -> None:
    voice = sung(sampler, program, "i")
    # the second and third formant of "i"; the smoothest patch has nothing there by itself
    assert band_db(voice, 1_900, 3_300) > -30


@pytest.mark.parametrize("program", VOICES)
def test_vowels_differ(sampler: Sampler, program: int) -> None:
    # the second formant of "i" against that of "u"
    front, back = (
        band_db(voice, 1_900, 2_500) - band_db(voice, 600, 800)
        for voice in (sung(sampler, program, vowel) for vowel in "iu")
    )
    assert front > back + 4


def test_a_vowel_glides_into_the_next(sampler: Sampler) -> None:
    gliding, first, last = (sung(sampler, VOICES[0], vowel) for vowel in ("ui", "u", "i"))
    begin, end = int(0.2 * SAMPLE_RATE), int(0.85 * SAMPLE_RATE)
    np.testing.assert_allclose(gliding[:begin], first[:begin], atol=1e-5)
    released = slice(end, SAMPLE_RATE)
    np.testing.assert_allclose(gliding[released], last[released], atol=1e-5)
    middle = slice(begin, end)
    assert np.abs(gliding[middle] - first[middle]).max() > 0.1 * np.abs(first).max()


@pytest.mark.parametrize("sound", UNPITCHED)
def test_breaths_and_consonants_are_noise_without_pitch(sampler: Sampler, sound: str) -> None:
    notes = (
        Note(start_s=0.0, duration_s=0.3, pitch=0, velocity=80, vowel=sound),
        Note(start_s=0.5, duration_s=0.4, pitch=PITCH, velocity=95, vowel="a"),
    )
    part = Part(source="vocals", role="singer", program=VOICES[0], notes=notes)
    audio = Singer(np.random.default_rng(0), (1.0, 1.0)).sing(sampler, part, SAMPLE_RATE)
    noise = audio[0, : int(0.3 * SAMPLE_RATE)]
    assert np.abs(noise).max() > 0
    assert band_db(noise, PITCH_HZ / 2, 3 * PITCH_HZ) < -10
