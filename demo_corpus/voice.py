"""Sings a melody: the soundfont's voice patches, shaped by vowels, with breaths and consonants."""

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
_UNSHAPED = 0.3
_UNPITCHED: Mapping[str, tuple[float, float, float]] = {
    "breath": (900.0, 4_500.0, 0.015),
    "s": (4_500.0, 10_000.0, 0.04),
}


class Singer:
    """One song's voice: the length of its vocal tract, drawn, scales every formant."""

    def __init__(self, rng: np.random.Generator, voice_scale: tuple[float, float]) -> None:
        self._rng = rng
        scale = float(rng.uniform(*voice_scale))
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
        """The tone with the vowel's formants brought out."""
        shaped = np.float32(_UNSHAPED) * tone
        for b, a in self._filters.get(note.vowel, ()):
            shaped += signal.lfilter(b, a, tone)
        return shaped

    def _noise(self, note: Note) -> Audio:
        low, high, level = _UNPITCHED[note.vowel]
        size = max(64, round(note.duration_s * SAMPLE_RATE))
        b, a = signal.butter(2, (low, high), "bandpass", fs=SAMPLE_RATE)
        noise = signal.lfilter(b, a, self._rng.standard_normal(size))
        rise = np.sin(np.pi * np.linspace(0, 1, size) ** 0.7) ** 2
        hissed: Audio = (noise * rise * level * note.velocity / 80).astype(np.float32)
        return hissed


def _resonance(hertz: float, level_db: float) -> tuple[Audio, Audio]:
    """Coefficients (b, a) of a band-pass whose peak gain is `level_db` above four."""
    b, a = signal.iirpeak(hertz, hertz / _BANDWIDTH_HZ, fs=SAMPLE_RATE)
    gain = 4 * 10 ** (level_db / 20)
    return (b * gain).astype(np.float32), a.astype(np.float32)
