"""What a composed song is made of: notes, parts, sections, and the clock that times them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SOURCES = ("drums", "bass", "other", "vocals")
STEPS_PER_BEAT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note. ``velocity`` is MIDI's (1 to 127).

    ``scoop_cents`` is how far below its pitch the note begins; ``vowel`` names what a voice sings:
    one of "a", "e", "i", "o", "u", two of them that glide ("ai"), or an unpitched sound
    ("breath" and the consonants of ``demo_corpus.voice``).
    """

    start_s: float
    duration_s: float
    pitch: int
    velocity: int
    scoop_cents: float = 0.0
    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.5
    vowel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The notes of one instrument; its stem is ``source``."""

    source: str
    role: str
    program: int
    notes: tuple[Note, ...]
    is_drum: bool = False
    pan: float = 0.0
    level_db: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Some bars of the form. ``silent_bars`` are the bars (within it) in which a source rests."""

    name: str
    start_bar: int
    num_bars: int
    sources: frozenset[str]
    silent_bars: Mapping[str, frozenset[int]]

    def plays(self, source: str, bar: int) -> bool:
        """Whether the source plays in a bar, counted from the section's first."""
        return source in self.sources and bar not in self.silent_bars.get(source, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Song:
    """A composed song: what its parts play, and the facts that describe it."""

    style: str
    key: int
    scale: str
    bpm: float
    beats_per_bar: int
    sections: tuple[Section, ...]
    parts: tuple[Part, ...]
    duration_s: float
    fade_out_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Musical time to seconds. A step is a sixteenth; swing delays every second one.

    ``swing_eighths`` and ``swing_sixteenths`` are shares of the pair that the first note takes
    beyond an even half: 1/6 makes triplets.
    """

    bpm: float
    beats_per_bar: int
    swing_eighths: float = 0.0
    swing_sixteenths: float = 0.0
    start_s: float = 0.05

    @property
    def steps_per_bar(self) -> int:
        """Sixteenths in a bar."""
        return self.beats_per_bar * STEPS_PER_BEAT

    @property
    def step_s(self) -> float:
        """Seconds a sixteenth takes, swing apart."""
        return 60 / self.bpm / STEPS_PER_BEAT

    @property
    def bar_s(self) -> float:
        """Seconds a bar takes."""
        return self.step_s * self.steps_per_bar

    def seconds(self, bar: int, step: float) -> float:
        """When a step of a bar falls.

        >>> Clock(bpm=120, beats_per_bar=4, start_s=0.0).seconds(1, 8)
        3.0
        """
        whole = int(step // 1)
        delay = 0.0
        if whole % 2 == 1:
            delay = 2 * self.swing_sixteenths
        elif whole % 4 == 2:
            delay = 4 * self.swing_eighths
        return self.start_s + bar * self.bar_s + (step + delay) * self.step_s
