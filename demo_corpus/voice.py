"""Sings a melody: the soundfont's voice patches, given overtones, vowels, breaths and consonants.

A voice is a rich tone that the vocal tract shapes (Fant's source and filter). Some patches are
nearly sines, which no formant can shape, so every tone is first given the overtones that vocal
folds give; then vowels glide into each other within a note.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import signal

from demo_corpus.sampler import SAMPLE_RATE, Audio, Sampler
from demo_corpus.score import Note, Part

# First three formants of sung vowels, in hertz, and their levels against the first.
_FORMANTS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "a": ((750, 0), (1_150, -3), (2_700, -10)),
    "e": ((480, 0), (1_900, -6), (2_600, -9)),
    "i": ((320, 0), (2_200, -9), (3_000, -10)),
    "o": ((470, 0), (830, -4), (2_600, -16)),
    "u": ((340, 0), (700, -8), (2_400, -20)),
}
_BANDWIDTH_HZ = 130.0
_UNSHAPED = 0.05
# How fast the curve that makes overtones follows a tone's level; its asymmetry for a drive of one.
_FOLLOW_HZ, _BIAS = 15.0, 0.5
# The lips radiate a change of flow, not the flow: first-order pre-emphasis.
_RADIATION = 0.9
# Ranges that singers are drawn from: drive, corner of the fall of soft voices, breath in the tone.
_DRIVE = (3.0, 9.0)
_SOFT_HZ = (1_200.0, 10_000.0)
_BREATH_DB = (-48.0, -27.0)
# Where in a note its vowel begins to turn into the next, and where it is done.
_GLIDE = (0.25, 0.8)
# Band in hertz, level, and share of the duration until the peak.
_UNPITCHED: Mapping[str, tuple[float, float, float, float]] = {
    "breath": (900.0, 4_500.0, 0.015, 0.4),
    "s": (4_500.0, 10_000.0, 0.04, 0.4),
    "sh": (2_000.0, 6_000.0, 0.04, 0.4),
    "t": (3_000.0, 8_000.0, 0.06, 0.1),
    "k": (1_200.0, 3_500.0, 0.06, 0.1),
}
UNPITCHED = tuple(_UNPITCHED)


class Singer:
    """One song's voice: vocal tract, effort and breath are drawn."""

    def __init__(self, rng: np.random.Generator, voice_scale: tuple[float, float]) -> None:
        self._rng = rng
        scale = float(rng.uniform(*voice_scale))
        self._drive = float(rng.uniform(*_DRIVE))
        soft_hz = float(np.exp(rng.uniform(*np.log(_SOFT_HZ))))
        self._soft = signal.butter(1, soft_hz, fs=SAMPLE_RATE)
        self._breath = 10 ** (float(rng.uniform(*_BREATH_DB)) / 20)
        self._filters = {
            vowel: [_resonance(hertz * scale, level_db) for hertz, level_db in formants]
            for vowel, formants in _FORMANTS.items()
        }

    def sing(self, sampler: Sampler, part: Part, num_samples: int) -> Audio:
        """Audio (2, num_samples) of a vocal part."""
        pitched = [note for note in part.notes if note.vowel not in _UNPITCHED]
        audio = sampler.render(
            pitched, part.program, num_samples, pan_width=0.4, colour=self._colour
        )
        loud = float(np.abs(audio).max(initial=0.0))
        for note in part.notes:
            if note.vowel in _UNPITCHED:
                noise = self._noise(note) * np.float32(loud)
                start = round(note.start_s * SAMPLE_RATE)
                stop = min(num_samples, start + noise.size)
                if start < stop:
                    audio[:, start:stop] += noise[: stop - start]
        return audio

    def _colour(self, tone: Audio, note: Note) -> Audio:
        """The tone as its vowels shape it: the first letter's, gliding into the last one's."""
        rich = self._excite(tone)
        first = self._vowel(rich, note.vowel[0])
        if note.vowel[-1] == note.vowel[0]:
            return first
        last = self._vowel(rich, note.vowel[-1])
        glide = np.linspace(0, rich.size / (note.duration_s * SAMPLE_RATE), rich.size)
        share = np.interp(glide, _GLIDE, (0, 1)).astype(np.float32)
        return first + share * (last - first)

    def _excite(self, tone: Audio) -> Audio:
        """The tone as vocal folds give it: pulses, by a lopsided soft clipper, and breath."""
        b, a = signal.butter(1, _FOLLOW_HZ, fs=SAMPLE_RATE)
        level = np.sqrt(np.maximum(signal.lfilter(b, a, np.square(tone, dtype=np.float64)), 1e-12))
        bias = _BIAS * self._drive
        pulses = np.tanh(self._drive * tone / level + bias) - np.tanh(bias)
        flow = signal.lfilter(*self._soft, pulses)
        flow += self._breath * self._rng.standard_normal(tone.size)
        rich: Audio = signal.lfilter([1.0, -_RADIATION], [1.0], flow * level).astype(np.float32)
        return rich

    def _vowel(self, tone: Audio, vowel: str) -> Audio:
        """The tone with the vowel's formants brought out."""
        shaped = np.float32(_UNSHAPED) * tone
        for b, a in self._filters[vowel]:
            shaped += signal.lfilter(b, a, tone)
        return shaped

    def _noise(self, note: Note) -> Audio:
        low, high, level, peak = _UNPITCHED[note.vowel]
        size = max(64, round(note.duration_s * SAMPLE_RATE))
        b, a = signal.butter(2, (low, high), "bandpass", fs=SAMPLE_RATE)
        noise = signal.lfilter(b, a, self._rng.standard_normal(size))
        # a power of the time that puts the peak of the sine where it belongs
        warped = np.linspace(0, 1, size) ** (np.log(0.5) / np.log(peak))
        rise = np.sin(np.pi * warped) ** 2
        hissed: Audio = (noise * rise * level * note.velocity / 80).astype(np.float32)
        return hissed


def _resonance(hertz: float, level_db: float) -> tuple[Audio, Audio]:
    """Coefficients (b, a) of a band-pass whose peak gain is ``level_db`` above four."""
    b, a = signal.iirpeak(hertz, hertz / _BANDWIDTH_HZ, fs=SAMPLE_RATE)
    gain = 4 * 10 ** (level_db / 20)
    return (b * gain).astype(np.float32), a.astype(np.float32)
