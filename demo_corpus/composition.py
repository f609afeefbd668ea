"""Composes a song: style, key, form, and what each of its instruments plays.

Pure: the same generator state, instrument pool and duration give the same ``Song``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from demo_corpus.accompaniment import Accompanist
from demo_corpus.bass import Bassist
from demo_corpus.drums import Drummer
from demo_corpus.form import draw_form
from demo_corpus.harmony import PROGRESSIONS, Chord, parse_progression
from demo_corpus.melody import Melodist
from demo_corpus.palette import InstrumentPool
from demo_corpus.score import Clock, Note, Part, Section, Song
from demo_corpus.styles import STYLES, Style

_T = TypeVar("_T")

_ENDING_S = 2.0
SHORTEST_S = 4.0


def compose(rng: np.random.Generator, pool: InstrumentPool, duration_s: float) -> Song:
    """Compose a song of at most ``duration_s`` seconds: whole bars and a last chord or a fade.

    Raises:
        ValueError: ``duration_s`` is too short for two bars.
    """
    if not duration_s >= SHORTEST_S:
        raise ValueError(f"duration_s must be at least {SHORTEST_S}, not {duration_s}")
    style = STYLES[int(rng.integers(len(STYLES)))]
    clock = Clock(
        bpm=float(rng.uniform(*style.bpm)),
        beats_per_bar=style.beats_per_bar,
        swing_eighths=style.swing_eighths * rng.uniform(0.8, 1.15),
        swing_sixteenths=style.swing_sixteenths * rng.uniform(0.3, 1.5),
        start_s=float(rng.uniform(0.02, 0.3)),
    )
    fades = rng.random() < 0.35
    room_s = duration_s - clock.start_s - (0.0 if fades else _ENDING_S)
    num_bars = max(1, int(room_s / clock.bar_s))
    harmony = _draw_harmony(rng, style)
    sections = draw_form(rng, num_bars, clock.bar_s)
    end_s = clock.start_s + num_bars * clock.bar_s + (0.0 if fades else _ENDING_S)
    band = _Band(rng, style, clock, harmony, sections, pool, ends=not fades)
    return Song(
        style=style.name,
        key=harmony.key,
        scale=harmony.scale,
        bpm=clock.bpm,
        beats_per_bar=clock.beats_per_bar,
        sections=sections,
        parts=tuple(part for part in band.parts() if part.notes),
        duration_s=min(duration_s, end_s),
        fade_out_s=float(rng.uniform(2.0, 4.0)) if fades else 0.6,
    )


@dataclass(frozen=True, kw_only=True)
class _Harmony:
    """A song's key and the chords of its verses and choruses."""

    key: int
    scale: str
    chorus: tuple[Chord, ...]
    verse: tuple[Chord, ...]
    bars_per_chord: float

    def bar(self, section: str, bar: int, steps: int) -> list[tuple[int, Chord]]:
        """(first step, chord) of a bar, counted from the section's first."""
        chords = self.chorus if section in ("chorus", "solo") else self.verse
        rate = self.bars_per_chord if len(chords) <= 4 else 0.5
        if rate == 0.5:
            halves = (chords[2 * bar % len(chords)], chords[(2 * bar + 1) % len(chords)])
            return [(0, halves[0]), (steps // 8 * 4, halves[1])]
        return [(0, chords[int(bar / rate) % len(chords)])]


def _draw_harmony(rng: np.random.Generator, style: Style) -> _Harmony:
    scale = style.scales[int(rng.integers(len(style.scales)))]
    key = int(rng.integers(12))
    num_tones = int(rng.choice(style.num_tones))
    picked = rng.choice(len(PROGRESSIONS[scale]), size=2, replace=False)
    chorus, verse = (
        parse_progression(PROGRESSIONS[scale][int(index)], key, scale, num_tones)
        for index in picked
    )
    if rng.random() < 0.25:
        verse = chorus
    return _Harmony(
        key=key,
        scale=scale,
        chorus=chorus,
        verse=verse,
        bars_per_chord=float(rng.choice(style.bars_per_chord)),
    )


class _Band:
    """The players of one song, who all know its form and chords."""

    def __init__(
        self,
        rng: np.random.Generator,
        style: Style,
        clock: Clock,
        harmony: _Harmony,
        sections: tuple[Section, ...],
        pool: InstrumentPool,
        *,
        ends: bool,
    ) -> None:
        self._rng = rng
        self._style = style
        self._clock = clock
        self._harmony = harmony
        self._sections = sections
        self._pool = pool
        self._last_bar = sections[-1].start_bar + sections[-1].num_bars
        self._ends = ends

    def parts(self) -> Iterator[Part]:
        """Every part of the song; some may have no notes."""
        drummer = Drummer(self._rng, self._clock, _pick(self._rng, self._style.grooves))
        yield self._drums(drummer)
        yield self._bass(drummer)
        yield from self._other()
        yield from self._vocals()

    def _closes(self, source: str) -> bool:
        last = self._sections[-1]
        return self._ends and last.plays(source, last.num_bars - 1)

    def _chords(self, section: Section, start: int, num_bars: int) -> list[list[tuple[int, Chord]]]:
        steps = self._clock.steps_per_bar
        return [
            self._harmony.bar(section.name, bar, steps) for bar in range(start, start + num_bars)
        ]

    def _runs(self, source: str) -> Iterator[tuple[Section, int, int]]:
        """(section, first bar within it, number of bars) for every stretch that a source plays."""
        for section in self._sections:
            start = None
            for bar in range(section.num_bars + 1):
                plays = bar < section.num_bars and section.plays(source, bar)
                if plays and start is None:
                    start = bar
                elif not plays and start is not None:
                    yield section, start, bar - start
                    start = None

    def _home(self) -> Chord:
        return self._harmony.verse[0] if self._ends else self._harmony.chorus[0]

    def _drums(self, drummer: Drummer) -> Part:
        notes = [note for section in self._sections for note in drummer.section(section)]
        if self._closes("drums"):
            notes += drummer.ending(self._last_bar)
        kit = _pick(self._rng, self._pool.kits)
        return Part(source="drums", role="kit", program=kit, notes=tuple(notes), is_drum=True)

    def _bass(self, drummer: Drummer) -> Part:
        bassist = Bassist(
            self._rng,
            self._clock,
            line=_pick(self._rng, self._style.bass_lines),
            kick_steps=drummer.kick_steps(),
            key=self._harmony.key,
            scale=self._harmony.scale,
        )
        notes: list[Note] = []
        for section, start, num_bars in self._runs("bass"):
            chords = self._chords(section, start, num_bars + 1)
            for bar in range(num_bars):
                following = chords[bar + 1][0][1]
                notes += bassist.bar(section.start_bar + start + bar, chords[bar], following)
        if self._closes("bass"):
            notes += bassist.ending(self._last_bar, self._home())
        program = _pick(self._rng, self._pool.bass)
        return Part(source="bass", role="bass", program=program, notes=tuple(notes))

    def _other(self) -> Iterator[Part]:
        rng = self._rng
        families = {"keys": self._pool.keys, "guitars": self._pool.guitars}
        families["plucks"] = self._pool.plucks
        comp = Accompanist(
            rng,
            self._clock,
            manner=_pick(rng, self._style.comping),
            center=int(rng.integers(57, 68)),
            legato=False,
        )
        pad = Accompanist(
            rng, self._clock, manner="pad", center=int(rng.integers(60, 73)), legato=True
        )
        second = Accompanist(
            rng,
            self._clock,
            manner=_pick(rng, ("arpeggio", "offbeat", "held")),
            center=int(rng.integers(64, 77)),
            legato=False,
        )
        low = int(rng.integers(58, 68))
        lead = Melodist(
            rng,
            self._clock,
            key=self._harmony.key,
            scale=self._harmony.scale,
            low=low,
            high=low + int(rng.integers(14, 20)),
            is_voice=False,
        )
        has_pad, has_second = rng.random() < 0.6, rng.random() < 0.45
        notes: dict[str, list[Note]] = {"comp": [], "pad": [], "second": [], "lead": []}
        for section, start, num_bars in self._runs("other"):
            chords = self._chords(section, start, num_bars)
            first_bar = section.start_bar + start
            playing = self._layers(section, has_pad=has_pad, has_second=has_second)
            for role, player in (("comp", comp), ("pad", pad), ("second", second)):
                if role in playing:
                    for bar in range(num_bars):
                        notes[role] += player.bar(first_bar + bar, chords[bar])
            if "lead" in playing:
                notes["lead"] += lead.section(section.name, first_bar, chords)
        if self._closes("other"):
            notes["comp"] += comp.ending(self._last_bar, self._home())
        side = float(rng.choice((-1, 1)))
        yield Part(
            source="other",
            role="comp",
            program=_pick(rng, families[_pick(rng, self._style.comp_families)]),
            notes=tuple(notes["comp"]),
            pan=side * float(rng.uniform(0.0, 0.5)),
        )
        yield Part(
            source="other",
            role="pad",
            program=_pick(rng, self._pool.pads),
            notes=tuple(notes["pad"]),
            level_db=float(rng.uniform(-9, -4)),
        )
        yield Part(
            source="other",
            role="second",
            program=_pick(rng, self._pool.plucks + self._pool.keys + self._pool.guitars),
            notes=tuple(notes["second"]),
            pan=-side * float(rng.uniform(0.2, 0.7)),
            level_db=float(rng.uniform(-7, -2)),
        )
        yield Part(
            source="other",
            role="lead",
            program=_pick(rng, self._pool.leads),
            notes=tuple(notes["lead"]),
            pan=float(rng.uniform(-0.2, 0.2)),
            level_db=float(rng.uniform(0, 4)),
        )

    def _layers(self, section: Section, *, has_pad: bool, has_second: bool) -> set[str]:
        """Which of the accompanying instruments play in a section."""
        rng = self._rng
        playing = {"comp"} if rng.random() < 0.88 else set()
        if has_pad and rng.random() < (0.85 if section.name == "chorus" else 0.4):
            playing.add("pad")
        if has_second and rng.random() < (0.7 if section.name == "chorus" else 0.3):
            playing.add("second")
        lead_chance = 0.95 if section.name == "solo" else 0.35
        if "vocals" not in section.sources and rng.random() < lead_chance:
            playing.add("lead")
        return playing or {"comp"}

    def _vocals(self) -> Iterator[Part]:
        rng = self._rng
        low = int(rng.choice((50, 53, 57, 60, 62)))
        singer = Melodist(
            rng,
            self._clock,
            key=self._harmony.key,
            scale=self._harmony.scale,
            low=low,
            high=low + int(rng.integers(14, 20)),
            is_voice=True,
        )
        interval = int(rng.choice((2, -2, -3, 7, 5)))
        harmony_chance = rng.choice((0.0, 0.5, 0.9))
        tune: list[Note] = []
        backing: list[Note] = []
        for section, start, num_bars in self._runs("vocals"):
            chords = self._chords(section, start, num_bars)
            sung = singer.section(section.name, section.start_bar + start, chords)
            tune += sung
            if section.name == "chorus" and rng.random() < harmony_chance:
                backing += singer.harmony(sung, interval)
        yield Part(
            source="vocals",
            role="singer",
            program=_pick(rng, self._pool.voices),
            notes=tuple(tune),
            pan=float(rng.uniform(-0.1, 0.1)),
        )
        yield Part(
            source="vocals",
            role="backing",
            program=_pick(rng, self._pool.voices),
            notes=tuple(backing),
            pan=float(rng.uniform(-0.6, 0.6)),
            level_db=float(rng.uniform(-8, -4)),
        )


def _pick(rng: np.random.Generator, choices: tuple[_T, ...]) -> _T:
    return choices[int(rng.integers(len(choices)))]
