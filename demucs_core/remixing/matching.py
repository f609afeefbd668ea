"""Tempo and key: which songs go together in a remix, and how well.

A tempo and its half or double go together: bars meet. Keys go together by the notes that they
share: a minor key has those of its relative major, and a step on the circle of fifths changes one
note. So keys are compared in steps on that circle, not in semitones: a semitone apart is five
steps, and shares only two notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from demucs_core.configuration import check_above, check_below

Match = Literal["none", "tempo", "key", "tempo+key"]
"""What the stem of a remix must share with the segment."""

MATCHES: tuple[Match, ...] = ("none", "tempo", "key", "tempo+key")

UNPITCHED = frozenset(
    ("drums", "percussion", "kick", "snare", "toms", "cymbals", "hihat", "hi-hat", "hats", "ride",
     "crash", "clap", "shaker", "speech", "noise", "effects", "sfx")
)  # fmt: skip
"""Sources that have no key, by the names that people give them."""

Mode = Literal["major", "minor"]

KEY_PROFILES: dict[Mode, tuple[float, ...]] = {
    "major": (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    "minor": (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
}
"""How often each pitch class sounds in a key, the tonic first: Albrecht & Shanahan, "The use of
large corpora to train a new type of key-finding algorithm", Music Perception 31 (2013)."""


@dataclass(frozen=True, kw_only=True)
class TempoKey:
    """Tempo and key of a piece of music.

    Attributes:
        tempo_bpm: beats a minute.
        tonic: pitch class of the key's tonic: 0 is C, 11 is B.
        mode: of the key.

    Raises:
        ValueError: no tempo, or no key.
    """

    tempo_bpm: float
    tonic: int
    mode: Mode

    def __post_init__(self) -> None:
        check_above(self, 0, "tempo_bpm")
        check_below(self, float("inf"), "tempo_bpm")
        if self.tonic not in range(12) or self.mode not in KEY_PROFILES:
            raise ValueError(f"{self.tonic} {self.mode!r} is no key: 0 to 11, major or minor")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well a stem goes with a segment; none where it was not looked at.

    Attributes:
        tempo_ratio: tempo of the stem over the segment's, halved or doubled to be nearest 1.
        key_steps: steps between their keys on the circle of fifths: 0 for the same notes, 6 at
            most.
    """

    tempo_ratio: float | None = None
    key_steps: int | None = None


def estimate_key(chroma: NDArray[np.floating]) -> tuple[int, Mode]:
    """Tonic and mode whose profile correlates best with the energy of pitch classes, C first.

    Args:
        chroma: energies ``(12,)``.

    Raises:
        ValueError: another shape, or all are alike.

    >>> estimate_key(np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1.0]))
    (0, 'major')
    """
    if chroma.shape != (12,) or not np.isfinite(chroma).all() or np.ptp(chroma) == 0:
        raise ValueError("a key takes the energies of 12 pitch classes, not all alike")
    best: tuple[float, int, Mode] = (-2.0, 0, "major")
    for mode, profile in KEY_PROFILES.items():
        for tonic in range(12):
            fit = float(np.corrcoef(np.roll(profile, tonic), chroma)[0, 1])
            best = max(best, (fit, tonic, mode))
    return best[1], best[2]


def tempo_ratio(segment: TempoKey, stem: TempoKey) -> float:
    """Tempo of the stem over the segment's, halved or doubled until it is nearest 1.

    >>> segment = TempoKey(tempo_bpm=120.0, tonic=0, mode="major")
    >>> tempo_ratio(segment, TempoKey(tempo_bpm=63.0, tonic=0, mode="major"))
    1.05
    """
    octaves = np.log2(stem.tempo_bpm / segment.tempo_bpm)
    return float(stem.tempo_bpm / segment.tempo_bpm * 2.0 ** -np.round(octaves))


def key_steps(first: TempoKey, second: TempoKey) -> int:
    """Steps between two keys on the circle of fifths, relative keys being one: 0 to 6.

    >>> c_major = TempoKey(tempo_bpm=1.0, tonic=0, mode="major")
    >>> [key_steps(c_major, TempoKey(tempo_bpm=1.0, tonic=tonic, mode="minor")) for tonic in (9, 0)]
    [0, 3]
    """
    fifths = 7 * (_major_tonic(first) - _major_tonic(second)) % 12
    return min(fifths, 12 - fifths)


def fit_of(match: Match, source: str, segment: TempoKey, stem: TempoKey) -> Fit:
    """How well a stem of a source goes with a segment, in what is to be matched."""
    by_key = match in ("key", "tempo+key") and source not in UNPITCHED
    return Fit(
        tempo_ratio=tempo_ratio(segment, stem) if match in ("tempo", "tempo+key") else None,
        key_steps=key_steps(segment, stem) if by_key else None,
    )


def misfit(fit: Fit, max_tempo_change: float, max_key_steps: int) -> float:
    """How far a stem is from going with a segment: 0 where it does.

    A tempo fits within a factor of 1 + ``max_tempo_change``, either way. Beyond what fits, that
    change of tempo once more counts as much as one step of key.
    """
    excess = 0.0
    if fit.tempo_ratio is not None:
        change = abs(np.log2(fit.tempo_ratio)) / np.log2(1 + max_tempo_change)
        excess += max(0.0, change - 1 - 1e-9)
    if fit.key_steps is not None:
        excess += max(0, fit.key_steps - max_key_steps)
    return float(excess)


def best_fits(fits: Sequence[Fit], max_tempo_change: float, max_key_steps: int) -> list[int]:
    """Places of all that fit; where none does, of the nearest, one or several alike."""
    misfits = [misfit(fit, max_tempo_change, max_key_steps) for fit in fits]
    least = min(misfits, default=0.0)
    return [place for place, value in enumerate(misfits) if value == least]


def _major_tonic(key: TempoKey) -> int:
    """Tonic of the major key that has the same notes."""
    return key.tonic if key.mode == "major" else (key.tonic + 3) % 12
