"""Which General MIDI programs each role may be given, in pools that share none.

The pools `SEEN` and `UNSEEN` share no program in any role, and within a role no recorded sample of
the default bank, but for two things the bank itself shares: cymbals and hi-hats of the drum kits,
and a quiet layer of its voice patches. A detector fitted on songs of one pool can be tested on
songs of the other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InstrumentPool:
    """Programs (0 to 127) a role; `kits` are programs of the drum bank.

    `voice_scale` bounds how much longer or shorter a singer's vocal tract is than the average,
    as a factor on the formants.
    """

    name: str
    kits: tuple[int, ...]
    bass: tuple[int, ...]
    keys: tuple[int, ...]
    guitars: tuple[int, ...]
    pads: tuple[int, ...]
    plucks: tuple[int, ...]
    leads: tuple[int, ...]
    voices: tuple[int, ...]
    voice_scale: tuple[float, float] = (0.85, 1.2)


SEEN = InstrumentPool(
    name="seen",
    kits=(0, 8, 16, 40),
    bass=(33, 34, 36, 38),
    keys=(0, 1, 2, 4, 16, 17),
    guitars=(24, 25, 27, 30),
    pads=(48, 49, 19, 20, 61),
    plucks=(10, 11, 45, 46),
    leads=(40, 56, 65, 73, 80, 71),
    voices=(52, 53),
    voice_scale=(0.85, 1.2),
)
UNSEEN = InstrumentPool(
    name="unseen",
    kits=(24, 25),
    bass=(32, 35, 37),
    keys=(5, 6, 7, 21),
    guitars=(26, 105, 106, 104),
    pads=(50, 51, 60, 89),
    plucks=(8, 12, 107, 108),
    leads=(42, 57, 64, 66, 68, 69, 74),
    voices=(54, 85, 91),
    voice_scale=(0.8, 1.3),
)
ALL = InstrumentPool(
    name="all",
    kits=SEEN.kits + UNSEEN.kits,
    bass=SEEN.bass + UNSEEN.bass,
    keys=SEEN.keys + UNSEEN.keys,
    guitars=SEEN.guitars + UNSEEN.guitars,
    pads=SEEN.pads + UNSEEN.pads,
    plucks=SEEN.plucks + UNSEEN.plucks,
    leads=SEEN.leads + UNSEEN.leads,
    voices=SEEN.voices + UNSEEN.voices,
    voice_scale=(0.8, 1.3),
)
POOLS = (SEEN, UNSEEN, ALL)


def pool(name: str) -> InstrumentPool:
    """The pool of that name.

    Raises:
        ValueError: there is none.
    """
    for candidate in POOLS:
        if candidate.name == name:
            return candidate
    raise ValueError(
        f"unknown instrument pool {name!r}; known: {', '.join(known.name for known in POOLS)}"
    )
