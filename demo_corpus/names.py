"""Invented artists and titles."""

from __future__ import annotations

import numpy as np

_FIRST = (
    "Velvet", "Paper", "Silver", "Northern", "Hollow", "Electric", "Golden", "Quiet", "Crooked",
    "Distant", "Midnight", "Copper", "Wooden", "Salt", "Amber", "Glass",
)  # fmt: skip
_SECOND = (
    "Foxes", "Harbour", "Engines", "Lanterns", "Choir", "Rivers", "Arcade", "Satellites", "Orchard",
    "Machines", "Parade", "Tides", "Wolves", "Gardens", "Radio", "Embers",
)  # fmt: skip
_VERB = (
    "Leaving", "Counting", "Chasing", "Holding", "Under", "After", "Beyond", "Losing",
    "Waiting for", "Dreaming of", "Running from", "Painting",
)  # fmt: skip
_NOUN = (
    "the Rain", "Winter", "Daylight", "the City", "Summer", "the Moon", "Tomorrow", "the Noise",
    "Silence", "Home", "the Sea", "Ghosts",
)  # fmt: skip


def song_name(seed: int, number: int) -> str:
    """``Artist - Title`` of a song; the number at its end keeps names apart."""
    rng = np.random.default_rng([seed, number, 1])
    words = [str(rng.choice(choices)) for choices in (_FIRST, _SECOND, _VERB, _NOUN)]
    return f"{words[0]} {words[1]} - {words[2]} {words[3]} {number % 1000:03d}"
