"""Which General MIDI programs each role may be given, in pools that share none.

The pools ``SEEN`` and ``UNSEEN`` share no program in any role, and within a role no recorded sample
of the default bank, but for two things the bank itself shares: cymbals and hi-hats of the drum
kits, and a quiet layer of its voice patches. A detector fitted on songs of one pool can be tested
on songs of the other.

``WIDE``, ``HELD_OUT`` and ``UNSEEN`` are for a stricter test: three pools that share, but for the
same two things, no recorded sample in any role. Fit on the first, calibrate on the second, test on
the third: then the songs held out are to the detector what unlabelled music will be. ``WIDE`` has
nearly all that the other two leave. The bank has five voices, so its other voices are instruments
that sing: what makes a voice of them is ``demo_corpus.voice``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InstrumentPool:
    """Programs (0 to 127) a role; ``kits`` are programs of the drum bank.

    ``voice_scale`` bounds how much longer or shorter a singer's vocal tract is than the average,
    as a factor on the formants. ``drum_tune_cents`` is how far (standard deviation) the kits of
    songs are tuned from each other.
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
    drum_tune_cents: float = 90.0


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
    kits=(24,),
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
    kits=(*SEEN.kits, *UNSEEN.kits, 25),
    bass=SEEN.bass + UNSEEN.bass,
    keys=SEEN.keys + UNSEEN.keys,
    guitars=SEEN.guitars + UNSEEN.guitars,
    pads=SEEN.pads + UNSEEN.pads,
    plucks=SEEN.plucks + UNSEEN.plucks,
    leads=SEEN.leads + UNSEEN.leads,
    voices=SEEN.voices + UNSEEN.voices,
    voice_scale=(0.8, 1.3),
)
WIDE = InstrumentPool(
    name="wide",
    kits=(0, 8, 25, 32, 40, 48),
    bass=(4, 17, 33, 38, 80, 87),
    keys=(0, 1, 2, 3, 4, 17, 18, 81),
    guitars=(15, 24, 25, 45, 46),
    pads=(44, 48, 49, 61, 62, 63),
    plucks=(9, 10, 13, 14, 45, 46, 114),
    leads=(40, 41, 110, 56, 71, 73, 77, 78, 79, 80, 81, 111),
    voices=(52, 41, 48, 56, 71, 80, 81, 111),
    voice_scale=(0.75, 1.4),
    drum_tune_cents=300.0,
)
HELD_OUT = InstrumentPool(
    name="held-out",
    kits=(16,),
    bass=(34, 36),
    keys=(16, 22),
    guitars=(29, 30),
    pads=(19, 96),
    plucks=(11,),
    leads=(65, 67, 70),
    voices=(53, 22),
    voice_scale=(0.8, 1.3),
)
POOLS = (SEEN, UNSEEN, ALL, WIDE, HELD_OUT)


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
