"""Scales, chord progressions and the voicing of chords with small movements."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SCALES: Mapping[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}

# Degrees of the scale; "5/7" has the seventh degree in the bass, "5#" a raised third.
PROGRESSIONS: Mapping[str, tuple[str, ...]] = {
    "major": (
        "1 5 6 4",
        "6 4 1 5",
        "1 6 4 5",
        "1 4 6 5",
        "1 5/7 6 4",
        "1 3 4 5",
        "4 1/3 2 5",
        "2 5 1 6",
        "1 6 2 5",
        "4 5 3 6",
        "1 1/3 4 5",
        "1 5/7 6 3/5 4 1/3 2 5",
        "6 5 4 5",
    ),
    "minor": (
        "1 6 3 7",
        "1 7 6 7",
        "1 4 5# 1",
        "1 6 4 5#",
        "1 3 7 4",
        "6 7 1 1",
        "1 7/2 3 6",
        "1 5/7 6 5#",
        "4 7 3 6",
        "1 7 6 5#",
    ),
    "dorian": ("1 4 1 4", "1 7 4 1", "1 3 4 4", "1 2 7 4"),
    "mixolydian": ("1 7 4 1", "1 4 7 4", "1 5 7 4", "1 7/2 4 5"),
}


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord by pitch class: ``bass`` is below, ``tones`` are the root, third, fifth and on."""

    tones: tuple[int, ...]
    bass: int


def parse_progression(text: str, key: int, scale: str, num_tones: int) -> tuple[Chord, ...]:
    """Chords of a progression written in degrees.

    >>> parse_progression("1 5/7", 0, "major", 3)
    (Chord(tones=(0, 4, 7), bass=0), Chord(tones=(7, 11, 2), bass=11))
    """
    steps = SCALES[scale]
    chords = []
    for symbol in text.split():
        name, _, over = symbol.partition("/")
        degree = int(name.rstrip("#")) - 1
        tones = [(key + steps[(degree + 2 * third) % 7]) % 12 for third in range(num_tones)]
        if name.endswith("#"):
            tones[1] = (tones[1] + 1) % 12
        bass = (key + steps[int(over) - 1]) % 12 if over else tones[0]
        chords.append(Chord(tuple(tones), bass))
    return tuple(chords)


def voice_chord(
    chord: Chord, previous: Sequence[int], center: int, *, span: int = 9
) -> tuple[int, ...]:
    """Pitches of the chord near ``center``, moving as little as possible from ``previous``."""
    choices = [
        [pitch for pitch in range(center - span, center + span + 1) if pitch % 12 == tone]
        for tone in chord.tones
    ]
    reference = list(previous) or [center]

    def cost(pitches: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        ordered = tuple(sorted(pitches))
        movement = sum(min(abs(p - q) for q in reference) for p in ordered)
        crowding = sum(4 for low, high in itertools.pairwise(ordered) if high - low < 2)
        wide = max(0, ordered[-1] - ordered[0] - 14)
        return movement + crowding + wide + 0.3 * abs(float(np.mean(ordered)) - center), ordered

    return min(cost(option) for option in itertools.product(*choices))[1]


def scale_pitches(key: int, scale: str, low: int, high: int) -> list[int]:
    """All pitches of a scale from ``low`` to ``high``, inclusive."""
    classes = {(key + step) % 12 for step in SCALES[scale]}
    return [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]
