"""Which stems a song is written as: the same instruments, sorted into other sources.

The default, ``MUSDB``, is what songs are composed and mixed as; its files never change. In any
other split each stem goes through the channel of its own family (drums, bass, other or vocals)
alone, so the mixture is that split's own, and exactly the sum of its stems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from demo_corpus.score import SOURCES, Note, Part

INSTRUMENTS = (
    "kick", "snare", "toms", "cymbals", "percussion", "bass", "keys", "guitar", "strings", "winds",
    "synth", "lead_vocals", "backing_vocals",
)  # fmt: skip
"""What the songs are played on; each in one stem of every split."""

_DRUMS: Mapping[int, str] = MappingProxyType(
    {
        35: "kick", 36: "kick", 37: "snare", 38: "snare", 39: "snare", 40: "snare",
        41: "toms", 43: "toms", 45: "toms", 47: "toms", 48: "toms", 50: "toms",
        42: "cymbals", 44: "cymbals", 46: "cymbals", 49: "cymbals", 51: "cymbals", 52: "cymbals",
        53: "cymbals", 55: "cymbals", 57: "cymbals", 59: "cymbals",
    }
)  # fmt: skip
"""Keys of a General MIDI kit; the others are percussion."""

_PROGRAMS = (
    (24, "keys"), (32, "guitar"), (40, "bass"), (56, "strings"), (80, "winds"), (104, "synth"),
    (108, "guitar"), (128, "synth"),
)  # fmt: skip
"""Families of General MIDI programs, each up to a number."""


@dataclass(frozen=True, kw_only=True)
class StemSplit:
    """Names of stems, in order, and the instruments in each.

    Raises:
        ValueError: an instrument that is unknown, in no stem or in two.
    """

    name: str
    stems: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        placed = [instrument for group in self.stems.values() for instrument in group]
        if sorted(placed) != sorted(INSTRUMENTS):
            wrong = sorted(set(placed) ^ set(INSTRUMENTS)) or sorted(
                {instrument for instrument in placed if placed.count(instrument) > 1}
            )
            raise ValueError(
                f"split {self.name}: {', '.join(wrong)} must be in one stem each; "
                f"the instruments are {', '.join(INSTRUMENTS)}"
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stems."""
        return tuple(self.stems)

    def stem_of(self, instrument: str) -> str:
        """The stem that an instrument is in."""
        return next(stem for stem, group in self.stems.items() if instrument in group)


_KIT = ("kick", "snare", "toms", "cymbals", "percussion")
_BAND = ("keys", "guitar", "strings", "winds", "synth")
_VOICES = ("lead_vocals", "backing_vocals")

MUSDB = StemSplit(
    name="musdb",
    stems=dict(zip(SOURCES, (_KIT, ("bass",), _BAND, _VOICES), strict=True)),
)
BAND = StemSplit(
    name="band",
    stems={
        "kick": ("kick",),
        "snare": ("snare", "toms"),
        "cymbals": ("cymbals", "percussion"),
        "bass": ("bass",),
        "keys": ("keys", "strings", "winds", "synth"),
        "guitar": ("guitar",),
        "vocals": _VOICES,
    },
)
KARAOKE = StemSplit(
    name="karaoke", stems={"vocals": _VOICES, "accompaniment": (*_KIT, "bass", *_BAND)}
)

SPLITS: Mapping[str, StemSplit] = MappingProxyType(
    {split.name: split for split in (MUSDB, BAND, KARAOKE)}
)
"""The splits by name."""


def instrument_of(part: Part, note: Note) -> str:
    """What plays a note of a part, one of ``INSTRUMENTS``."""
    if part.source == "vocals":
        return "backing_vocals" if part.role == "backing" else "lead_vocals"
    if part.source == "bass":
        return "bass"
    if part.is_drum:
        return _DRUMS.get(note.pitch, "percussion")
    return next(name for end, name in _PROGRAMS if part.program < end and name != "bass")
