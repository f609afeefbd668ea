"""Song form: which sections follow each other, how long they are, and who rests when.

Sources drop out as in arranged music: a song opens with a few instruments, verses leave one out,
breakdowns strip down to one or two, choruses bring everybody back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from demo_corpus.score import SOURCES, Section

# Letters: d(rums), b(ass), o(ther), v(ocals); the number is a weight.
_CASTS: Mapping[str, Mapping[str, float]] = {
    "intro": {"o": 3, "d": 2, "do": 2, "b": 1, "bo": 1.5, "db": 2.5, "ov": 1.5, "dbo": 2, "v": 1.5},
    "verse": {"dbov": 4, "dbv": 4, "ov": 2, "bov": 2, "dov": 1.5, "dv": 1.5, "dbo": 1, "bv": 1},
    "chorus": {"dbov": 8, "dbo": 1, "dov": 0.5, "bov": 0.5, "dbv": 0.7},
    "break": {"d": 2, "db": 3, "o": 1.5, "ov": 2, "v": 1.5, "dv": 2, "bo": 1.5, "b": 1, "bv": 1},
    "solo": {"dbo": 5, "do": 1, "bo": 1.5, "db": 2},
    "outro": {"o": 1.5, "ov": 1.5, "dbo": 2, "dbov": 2, "db": 1.5, "dbv": 1, "v": 1, "bo": 1},
}
_TEMPLATES = (
    ("intro", "verse", "chorus", "verse", "break", "chorus", "outro"),
    ("intro", "verse", "verse", "chorus", "solo", "chorus", "outro"),
    ("intro", "verse", "chorus", "break", "verse", "chorus"),
    ("verse", "chorus", "solo", "verse", "chorus", "outro"),
    ("chorus", "verse", "break", "verse", "chorus", "outro"),
    ("intro", "verse", "break", "chorus", "solo", "chorus"),
    ("intro", "solo", "verse", "chorus", "break", "chorus", "outro"),
)
_IDEAL_BARS: Mapping[str, float] = {
    "intro": 4,
    "verse": 8,
    "chorus": 8,
    "break": 4,
    "solo": 6,
    "outro": 3,
}
_MIN_REST_S = 3.2


def draw_form(rng: np.random.Generator, num_bars: int, bar_s: float) -> tuple[Section, ...]:
    """Sections that fill ``num_bars`` bars."""
    names = list(_TEMPLATES[rng.integers(len(_TEMPLATES))])
    shortest = 2 * max(1, int(np.ceil(_MIN_REST_S / bar_s / 2)))
    while len(names) > 1 and len(names) * shortest > num_bars:
        names.pop(int(rng.integers(len(names))))
    lengths = _section_lengths(rng, names, num_bars, shortest)
    sections = []
    start = 0
    previous = frozenset[str]()
    for name, length in zip(names, lengths, strict=True):
        cast = _draw_cast(rng, name, previous)
        rests = _draw_rests(rng, name, cast, length, bar_s)
        sections.append(
            Section(name=name, start_bar=start, num_bars=length, sources=cast, silent_bars=rests)
        )
        start += length
        previous = cast
    return _everyone_plays(rng, tuple(sections))


def _section_lengths(
    rng: np.random.Generator, names: list[str], num_bars: int, shortest: int
) -> list[int]:
    lengths = [min(shortest, num_bars)] * len(names)
    while num_bars - sum(lengths) >= 2:
        want = np.array([_IDEAL_BARS[n] / k for n, k in zip(names, lengths, strict=True)])
        lengths[int(rng.choice(len(names), p=want**2 / np.sum(want**2)))] += 2
    lengths[-1] += num_bars - sum(lengths)
    return lengths


def _draw_cast(rng: np.random.Generator, name: str, previous: frozenset[str]) -> frozenset[str]:
    casts = list(_CASTS[name])
    weights = np.array([_CASTS[name][cast] for cast in casts])
    by_letter = {source[0]: source for source in SOURCES}
    while True:
        letters = casts[int(rng.choice(len(casts), p=weights / weights.sum()))]
        cast = frozenset(by_letter[letter] for letter in letters)
        # Two sections with one cast are fine only where everybody plays.
        if cast != previous or len(cast) == len(SOURCES):
            return cast


def _draw_rests(
    rng: np.random.Generator, name: str, cast: frozenset[str], length: int, bar_s: float
) -> dict[str, frozenset[int]]:
    """Bars in which one of the section's sources waits: it comes in late, or leaves early."""
    half = length // 2
    rests: dict[str, frozenset[int]] = {}
    if len(cast) < 2 or half * bar_s < _MIN_REST_S:
        return rests
    chance = 0.15 if name == "chorus" else 0.4
    if rng.random() < chance:
        source = sorted(cast)[int(rng.integers(len(cast)))]
        bars = range(half) if rng.random() < 0.65 else range(length - half, length)
        rests[source] = frozenset(bars)
    return rests


def _everyone_plays(rng: np.random.Generator, sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """The same sections, with every source in at least one of them."""
    missing = frozenset(SOURCES) - frozenset().union(*(s.sources for s in sections))
    if not missing:
        return sections
    index = int(rng.integers(len(sections)))
    chosen = sections[index]
    completed = Section(
        name=chosen.name,
        start_bar=chosen.start_bar,
        num_bars=chosen.num_bars,
        sources=chosen.sources | missing,
        silent_bars=chosen.silent_bars,
    )
    return (*sections[:index], completed, *sections[index + 1 :])
