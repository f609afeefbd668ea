"""Bass lines that follow the chords and the kick drum."""

from __future__ import annotations

import numpy as np

from demo_corpus.harmony import Chord, scale_pitches
from demo_corpus.score import Clock, Note

_SYNCOPATED = ((0, 3), (3, 2), (6, 2), (7, 1), (10, 3), (14, 2))


class Bassist:
    """Plays a song's bass in one manner (``line``), between the open E string and an octave up."""

    def __init__(
        self,
        rng: np.random.Generator,
        clock: Clock,
        *,
        line: str,
        kick_steps: tuple[int, ...],
        key: int,
        scale: str,
    ) -> None:
        self._rng = rng
        self._clock = clock
        self._line = line
        self._kick_steps = kick_steps
        self._scale = scale_pitches(key, scale, 26, 60)
        self._low = int(rng.integers(28, 33))
        self._short = rng.uniform(0.55, 0.98)
        self._jitter_s = rng.uniform(0.002, 0.006)
        self._accent = rng.integers(86, 104)

    def bar(self, bar: int, chords: list[tuple[int, Chord]], following: Chord) -> list[Note]:
        """Notes of a bar; ``chords`` are (first step, chord), ``following`` opens the next bar."""
        notes = []
        steps = self._clock.steps_per_bar
        for index, (start, chord) in enumerate(chords):
            is_last = index + 1 == len(chords)
            stop = steps if is_last else chords[index + 1][0]
            target = following if is_last else chords[index + 1][1]
            for step, length, pitch, softer in self._figure(start, stop, chord, target):
                notes.append(self._note(bar, step, min(length, stop - step), pitch, softer))
        return notes

    def ending(self, bar: int, chord: Chord) -> list[Note]:
        """A long last root."""
        return [self._note(bar, 0, self._clock.steps_per_bar, self._root(chord), 0)]

    def _root(self, chord: Chord) -> int:
        return self._low + (chord.bass - self._low) % 12

    def _fifth(self, chord: Chord) -> int:
        root = self._root(chord)
        fifth = chord.tones[2 if chord.bass == chord.tones[0] else 0]
        up = root + (fifth - root) % 12
        return up if up <= self._low + 15 else up - 12

    def _figure(
        self, start: int, stop: int, chord: Chord, target: Chord
    ) -> list[tuple[int, int, int, int]]:
        """(step, length, pitch, velocity taken off) between two steps, on one chord."""
        rng = self._rng
        root, fifth = self._root(chord), self._fifth(chord)
        span = range(start, stop)
        if self._line == "eighths":
            figure = [(s, 2, root, 0 if s % 4 == 0 else 10) for s in span[::2]]
        elif self._line == "octaves":
            figure = [(s, 2, root + 12 * (s % 4 == 2), 0 if s % 4 else 6) for s in span[::2]]
        elif self._line == "offbeat":
            figure = [(s, 2, root, 0) for s in span if s % 4 == 2]
        elif self._line == "walking":
            return self._walk(start, stop, chord, target)
        elif self._line == "root_fifth":
            half = max(4, (stop - start) // 2 // 4 * 4)
            figure = [(start, half, root, 0), (start + half, stop - start - half, fifth, 6)]
        elif self._line == "tumbao":
            figure = [(s, 4, fifth if s % 8 < 7 else root, 0) for s in span if s % 16 in (6, 12)]
            figure += [(start, 4, root, 8)] if rng.random() < 0.5 else []
        elif self._line == "syncopated":
            pitches = (root, root, fifth, root + 12, root, fifth)
            figure = [
                (start + s, n, p, 8 if s % 4 else 0)
                for (s, n), p in zip(_SYNCOPATED, pitches, strict=True)
                if start + s < stop and (s == 0 or rng.random() < 0.85)
            ]
        elif self._line == "kick":
            hits = sorted({start, *(s for s in self._kick_steps if start <= s < stop)})
            ends = [*hits[1:], stop]
            figure = [(s, e - s, root, 0) for s, e in zip(hits, ends, strict=True)]
        else:
            figure = [(start, stop - start, root, 0)]
        figure = [note for note in figure if note[1] > 0]
        if figure and figure[-1][0] >= stop - 4 and rng.random() < 0.35:
            step, length, _, softer = figure[-1]
            figure[-1] = (step, length, self._approach(target), softer)
        return figure

    def _walk(
        self, start: int, stop: int, chord: Chord, target: Chord
    ) -> list[tuple[int, int, int, int]]:
        """A note a beat: the root, then scale and chord tones, then a step into what follows."""
        beats = list(range(start, stop, 4))
        pitch = self._root(chord)
        figure = [(beats[0], 4, pitch, 0)]
        for beat in beats[1:]:
            if beat == beats[-1]:
                pitch = self._approach(target)
            else:
                near = [p for p in self._scale if 0 < abs(p - pitch) <= 5]
                near = [p for p in near if self._low - 2 <= p <= self._low + 17]
                tones = [p for p in near if p % 12 in chord.tones]
                pool = tones if tones and self._rng.random() < 0.6 else near
                pitch = int(self._rng.choice(pool))
            figure.append((beat, 4, pitch, 4))
        return figure

    def _approach(self, target: Chord) -> int:
        root = self._root(target)
        below = max((p for p in self._scale if p < root), default=root)
        above = min(p for p in self._scale if p > root)
        return int(self._rng.choice((below, above)))

    def _note(self, bar: int, step: int, length: int, pitch: int, softer: int) -> Note:
        rng = self._rng
        start_s = self._clock.seconds(bar, step) + rng.normal(0, self._jitter_s)
        stop_s = self._clock.seconds(bar, step + length)
        share = self._short if length <= 4 else 0.96
        velocity = self._accent - softer + rng.normal(0, 5)
        return Note(
            start_s=max(0.0, start_s),
            duration_s=max(0.06, (stop_s - start_s) * share),
            pitch=pitch,
            velocity=int(np.clip(velocity, 40, 122)),
        )
