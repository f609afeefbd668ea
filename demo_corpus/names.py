"""Invented artists, albums and titles, seeded; some with accents, to try out file names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FIRST = (
    "Marble", "Northern", "Paper", "Velvet", "Copper", "Little", "Hollow", "Electric", "Sunday",
    "Crimson", "Glass", "Señor", "Øvre", "Wild", "Static", "Café", "Silver", "Late", "Zażółć",
)  # fmt: skip
_SECOND = (
    "Harbour", "Lanterns", "Foxes", "Parade", "Kilometre", "Orchard", "Machines", "Señales",
    "Weather", "Brothers", "Étoile", "Avenue", "Pilots", "Garden", "Ångström", "Motel", "Tides",
)  # fmt: skip
_VERBS = (
    "Leaving", "Counting", "Chasing", "Under", "Beyond", "Carry", "Almost", "Burning", "After",
)  # fmt: skip
_NOUNS = (
    "the Rain", "Tomorrow", "Your Window", "Every Mile", "the Satellites", "Home", "Gold",
    "November", "the Wire", "Mañana", "the Shoreline", "Nothing", "a Year", "Übermut", "the Smoke",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Credit:
    """What a record sleeve says."""

    artist: str
    album: str
    title: str


def draw_credits(rng: np.random.Generator, count: int) -> list[Credit]:
    """Credits of ``count`` songs; no title comes twice with one artist."""
    credits: list[Credit] = []
    used: set[tuple[str, str]] = set()
    for _ in range(count):
        artist = f"{_FIRST[rng.integers(len(_FIRST))]} {_SECOND[rng.integers(len(_SECOND))]}"
        title = f"{_VERBS[rng.integers(len(_VERBS))]} {_NOUNS[rng.integers(len(_NOUNS))]}"
        album = f"{_VERBS[rng.integers(len(_VERBS))]} {_NOUNS[rng.integers(len(_NOUNS))]}"
        if (artist, title) in used:
            title = f"{title} (Take {len(credits)})"
        used.add((artist, title))
        credits.append(Credit(artist=artist, album=album, title=title))
    return credits
