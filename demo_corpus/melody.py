"""Melodies: motifs that come back, phrases that breathe, and the way a voice sings them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from demo_corpus.harmony import Chord, scale_pitches
from demo_corpus.score import Clock, Note

_LENGTHS = (1, 2, 3, 4, 6, 8)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "au", "ei", "ou", "oi", "ia", "ua")
_CONSONANTS = ("s", "s", "sh", "t", "t", "k")


@dataclass(frozen=True, slots=True)
class _Motif:
    """Rhythm (step, length) over two bars and the scale step taken into each note."""

    rhythm: tuple[tuple[int, int], ...]
    contour: tuple[int, ...]


class Melodist:
    """Writes one song's tunes for one range; verse and chorus keep theirs when they return."""

    def __init__(
        self,
        rng: np.random.Generator,
        clock: Clock,
        *,
        key: int,
        scale: str,
        low: int,
        high: int,
        is_voice: bool,
    ) -> None:
        self._rng = rng
        self._clock = clock
        self._pitches = scale_pitches(key, scale, low, high)
        self._is_voice = is_voice
        self._pace = rng.uniform(0.0, 1.0)
        self._rest_chance = rng.uniform(0.03, 0.18)
        self._vibrato_cents = rng.uniform(12, 42) if is_voice else 0.0
        self._vibrato_hz = rng.uniform(4.8, 6.4)
        self._scoop_cents = rng.uniform(40, 160) if is_voice else 0.0
        self._jitter_s = rng.uniform(0.004, 0.014)
        self._tunes: dict[str, tuple[_Motif, _Motif]] = {}

    def section(
        self, name: str, start_bar: int, chords: list[list[tuple[int, Chord]]]
    ) -> list[Note]:
        """A tune over some bars: phrases of two bars in the order A A' B A'."""
        if name not in self._tunes:
            self._tunes[name] = (self._motif(lift=name == "chorus"), self._motif(lift=False))
        first, second = self._tunes[name]
        notes: list[Note] = []
        for phrase, bar in enumerate(range(0, len(chords), 2)):
            if phrase and self._rng.random() < self._rest_chance:
                continue
            motif = second if phrase % 4 == 2 else first
            high = name == "chorus"
            notes += self._phrase(start_bar + bar, chords[bar : bar + 2], motif, high=high)
        return notes

    def harmony(self, notes: list[Note], steps: int) -> list[Note]:
        """The same tune some scale steps away, sung a little softer and less in time."""
        ladder = self._pitches
        low, high = 0, len(ladder) - 1
        harmony = []
        for note in notes:
            if note.pitch not in ladder:
                continue
            index = int(np.clip(ladder.index(note.pitch) + steps, low, high))
            harmony.append(
                replace(
                    note,
                    pitch=ladder[index],
                    velocity=max(40, note.velocity - 14),
                    start_s=max(0.0, note.start_s + self._rng.normal(0.008, 0.01)),
                )
            )
        return harmony

    def _motif(self, *, lift: bool) -> _Motif:
        rng = self._rng
        steps = self._clock.steps_per_bar
        # The phrase ends with the second bar half over, so that a singer can breathe.
        stop = int(rng.integers(round(1.35 * steps), round(1.8 * steps)))
        step = int(rng.choice((0, 0, 2, 4, 6)))
        weights = np.array((0.4 * self._pace, 3, 1, 3, 1.2, 0.7 + 1.5 * (1 - self._pace)))
        rhythm = []
        while step < stop:
            length = int(rng.choice(_LENGTHS, p=weights / weights.sum()))
            if length == 1 and step % 2 == 0 and rng.random() < 0.5:
                length = 2
            rhythm.append((step, min(length, 2 * steps - 2 - step)))
            step += length
            if rng.random() < 0.12:
                step += 2
        moves = rng.choice((-3, -2, -1, 0, 1, 2, 3, 4), size=len(rhythm),
                           p=(0.05, 0.12, 0.26, 0.17, 0.24, 0.09, 0.04, 0.03))  # fmt: skip
        if lift:
            moves[: max(1, len(moves) // 3)] = np.abs(moves[: max(1, len(moves) // 3)])
        return _Motif(tuple(rhythm), tuple(int(move) for move in moves))

    def _phrase(
        self, bar: int, chords: list[list[tuple[int, Chord]]], motif: _Motif, *, high: bool
    ) -> list[Note]:
        rng = self._rng
        steps = self._clock.steps_per_bar
        ladder = self._pitches
        place = len(ladder) * (0.62 if high else 0.42) + rng.normal(0, 0.6)
        index = int(np.clip(round(place), 0, len(ladder) - 1))
        notes: list[Note] = []
        for count, ((step, length), move) in enumerate(
            zip(motif.rhythm, motif.contour, strict=True)
        ):
            if step >= steps * len(chords):
                break
            index += move
            if index < 1 or index > len(ladder) - 2:
                index = int(np.clip(index, 1, len(ladder) - 2)) - int(np.sign(move))
            chord = _chord_at(chords[step // steps], step % steps)
            is_last = count + 1 == len(motif.rhythm)
            if is_last or (step % 4 == 0 and length >= 4):
                index = self._nearest_tone(index, chord)
            notes.append(self._note(bar, step, length, ladder[index], is_last=is_last))
        if self._is_voice and notes:
            notes = self._breath(notes)
        return notes

    def _nearest_tone(self, index: int, chord: Chord) -> int:
        tones = [i for i, pitch in enumerate(self._pitches) if pitch % 12 in chord.tones]
        return min(tones, key=lambda i: (abs(i - index), i))

    def _note(self, bar: int, step: int, length: int, pitch: int, *, is_last: bool) -> Note:
        rng = self._rng
        clock = self._clock
        start_s = clock.seconds(bar, step) + rng.normal(0, self._jitter_s)
        stop_s = clock.seconds(bar, step + length)
        duration_s = max(0.08, (stop_s - start_s) * (0.97 if self._is_voice else 0.92))
        velocity = 92 + (8 if step % 8 == 0 else 0) - (4 if is_last else 0) + rng.normal(0, 6)
        scoops = self._is_voice and rng.random() < 0.5
        return Note(
            start_s=max(0.0, start_s),
            duration_s=duration_s,
            pitch=pitch,
            velocity=int(np.clip(velocity, 50, 122)),
            scoop_cents=self._scoop_cents if scoops else 0.1 * self._is_voice,
            vibrato_cents=self._vibrato_cents if duration_s > 0.45 else 0.0,
            vibrato_hz=self._vibrato_hz,
            vowel=str(rng.choice(_VOWELS)) if self._is_voice else "",
        )

    def _breath(self, notes: list[Note]) -> list[Note]:
        """The phrase with a breath before it and an unvoiced consonant before some of its notes."""
        rng = self._rng
        first = notes[0]
        extra = []
        if first.start_s > 0.4 and rng.random() < 0.6:
            extra.append(
                Note(
                    start_s=first.start_s - 0.32,
                    duration_s=0.26,
                    pitch=0,
                    velocity=int(rng.integers(40, 70)),
                    vowel="breath",
                )
            )
        extra += [
            Note(
                start_s=note.start_s - 0.07,
                duration_s=float(rng.uniform(0.05, 0.1)),
                pitch=0,
                velocity=int(rng.integers(50, 100)),
                vowel=str(rng.choice(_CONSONANTS)),
            )
            for note in notes
            if rng.random() < 0.5 and note.start_s > 0.1
        ]
        return sorted([*notes, *extra], key=lambda note: note.start_s)


def _chord_at(chords: list[tuple[int, Chord]], step: int) -> Chord:
    return next(chord for start, chord in reversed(chords) if start <= step)
