"""Chords under a song: comping rhythms, arpeggios and held pads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from demo_corpus.harmony import Chord, voice_chord
from demo_corpus.score import Clock, Note

# (step, length in steps, accent) in a bar of four beats; a bar of three takes what fits in it.
_RHYTHMS: Mapping[str, tuple[tuple[tuple[int, int, bool], ...], ...]] = {
    "held": (
        ((0, 16, True),),
        ((0, 8, True), (8, 8, False)),
        ((0, 6, True), (6, 10, False)),
    ),
    "eighths": (
        tuple((s, 2, s % 4 == 0) for s in range(0, 16, 2)),
        tuple((s, 2, s in (0, 6, 12)) for s in range(0, 16, 2)),
        ((0, 3, True), (3, 3, True), (6, 2, False), (8, 3, True), (11, 3, True), (14, 2, False)),
    ),
    "push": (
        ((0, 3, True), (3, 3, False), (6, 6, True), (14, 2, False)),
        ((0, 2, True), (6, 2, True), (10, 4, False)),
        ((2, 2, False), (6, 4, True), (12, 2, False)),
    ),
    "offbeat": (
        ((2, 1, True), (6, 1, True), (10, 1, True), (14, 1, True)),
        ((2, 2, True), (6, 2, True), (10, 2, True), (13, 1, False), (14, 2, True)),
        ((4, 2, True), (12, 2, True)),
    ),
    "sixteenths": (
        tuple((s, 1, s % 4 == 0) for s in (0, 2, 3, 4, 6, 7, 10, 11, 12, 14, 15)),
        tuple((s, 1, s in (2, 7, 10)) for s in (0, 2, 3, 5, 7, 8, 10, 13, 14)),
    ),
    "jazz": (
        ((0, 3, True), (6, 2, True)),
        ((4, 2, False), (10, 4, True)),
        ((2, 2, True), (8, 3, False), (14, 2, True)),
        ((6, 6, True),),
    ),
    "montuno": (
        ((0, 2, True), (2, 1, False), (5, 2, True), (8, 2, True), (11, 2, False), (14, 2, True)),
        ((0, 2, True), (3, 2, True), (6, 2, True), (10, 2, True), (12, 3, False)),
    ),
    "waltz": (
        ((4, 3, False), (8, 3, False)),
        ((0, 4, True), (4, 3, False), (8, 3, False)),
    ),
}
_ARPEGGIOS = (
    (0, 1, 2, 1),
    (0, 1, 2, 3, 2, 1),
    (3, 2, 1, 0),
    (0, 2, 1, 2),
    (0, 2, 3, 1, 2, 1),
)


class Accompanist:
    """Plays one instrument's chords in one manner through a song."""

    def __init__(
        self, rng: np.random.Generator, clock: Clock, *, manner: str, center: int, legato: bool
    ) -> None:
        self._rng = rng
        self._clock = clock
        self._center = center
        self._manner = manner
        rhythms = _RHYTHMS.get(manner, _RHYTHMS["held"])
        picked = rng.choice(len(rhythms), size=2)
        self._rhythms = (rhythms[int(picked[0])], rhythms[int(picked[1])])
        self._arpeggio = _ARPEGGIOS[int(rng.integers(len(_ARPEGGIOS)))]
        self._arpeggio_step = int(rng.choice((2, 2, 1 if clock.bpm < 105 else 2, 4)))
        self._strum_s = rng.uniform(0.0, 0.014)
        self._jitter_s = rng.uniform(0.002, 0.007)
        self._share = 0.99 if legato else rng.uniform(0.6, 0.95)
        self._velocity = float(rng.uniform(74, 96))
        self._voicing: tuple[int, ...] = ()

    def bar(self, bar: int, chords: list[tuple[int, Chord]]) -> list[Note]:
        """Notes of one bar; ``chords`` are (first step, chord)."""
        steps = self._clock.steps_per_bar
        notes: list[Note] = []
        for index, (start, chord) in enumerate(chords):
            stop = chords[index + 1][0] if index + 1 < len(chords) else steps
            self._voicing = voice_chord(chord, self._voicing, self._center)
            if self._manner == "arpeggio":
                notes += self._arpeggiate(bar, start, stop)
            elif self._manner == "pad":
                notes += self._strike(bar, start, stop - start, accent=False)
            else:
                rhythm = self._rhythms[bar % 2]
                hits = [hit for hit in rhythm if start <= hit[0] < stop]
                if not hits and self._manner == "held":
                    hits = [(start, stop - start, True)]
                for step, length, accent in hits:
                    notes += self._strike(bar, step, min(length, stop - step), accent=accent)
        return notes

    def ending(self, bar: int, chord: Chord) -> list[Note]:
        """A last chord, held."""
        self._voicing = voice_chord(chord, self._voicing, self._center)
        return self._strike(bar, 0, self._clock.steps_per_bar, accent=True)

    def _arpeggiate(self, bar: int, start: int, stop: int) -> list[Note]:
        ladder = (*self._voicing, self._voicing[0] + 12)
        every = self._arpeggio_step
        notes = []
        for count, step in enumerate(range(start, stop, every)):
            pitch = ladder[self._arpeggio[count % len(self._arpeggio)] % len(ladder)]
            length = min(every * 2, stop - step)
            notes.append(self._note(bar, step, length, pitch, 0.0, accent=count % 4 == 0))
        return notes

    def _strike(self, bar: int, step: int, length: int, *, accent: bool) -> list[Note]:
        return [
            self._note(bar, step, length, pitch, self._strum_s * order, accent=accent)
            for order, pitch in enumerate(self._voicing)
        ]

    def _note(
        self, bar: int, step: int, length: int, pitch: int, delay_s: float, *, accent: bool
    ) -> Note:
        rng = self._rng
        start_s = self._clock.seconds(bar, step) + delay_s + rng.normal(0, self._jitter_s)
        stop_s = self._clock.seconds(bar, step + length)
        velocity = self._velocity + (10 if accent else 0) + rng.normal(0, 5)
        return Note(
            start_s=max(0.0, start_s),
            duration_s=max(0.05, (stop_s - start_s) * self._share),
            pitch=pitch,
            velocity=int(np.clip(velocity, 35, 120)),
        )
