"""Whether music is like the songs that a detector stands on, by what it says of both.

Shape legend: N songs or tracks, S sources, B bins of log-odds, F frames.

A promise of precision is for music like the songs held out. Whether other music is like them,
nobody can see from its scores; whether it is unlike them, one can: of each source, the frames that
sound are spread over the log-odds of silence in another way. How far two such spreads are apart is
the greatest difference of their cumulative shares; whether songs of one kind would be as far apart
is found by dealing all songs anew. Songs are dealt, not frames, since those of one song are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demucs_core.extraction.segments import to_log_odds

FloatArray = NDArray[np.float64]
EDGES: Final = np.arange(-8.0, 8.01, 0.5)
NUM_BINS: Final = len(EDGES) + 1
NUM_DEALS: Final = 999
LEAST_DISTANCE: Final = 0.1
"""Nearer spreads are alike, however many songs show that they differ."""
MOST_P: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How far the scores of some music are from those of the songs that a detector stands on.

    Attributes:
        distance: share of the frames that are elsewhere, 0 to 1, for each source.
        p_value: how often songs of one kind would be as far apart in any source.
        num_songs: that the detector stands on.
        num_tracks: of the music.
    """

    distance: tuple[float, ...]
    p_value: float
    num_songs: int
    num_tracks: int

    @property
    def is_unlike(self) -> bool:
        """Whether it is shown to be other music."""
        return self.p_value < MOST_P and max(self.distance) >= LEAST_DISTANCE


def spread(
    probability: NDArray[np.float32], level_db: NDArray[np.float32], min_level_db: float
) -> FloatArray | None:
    """How the frames of a song that sound are spread over log-odds of silence: ``(S, B)`` shares.

    Args:
        probability: of silence, ``(S, F)``.
        level_db: of the mixture, ``(F,)``.
        min_level_db: below it, a frame is quiet.

    Returns:
        None where no frame sounds.
    """
    heard = level_db >= min_level_db
    if not heard.any():
        return None
    bins = np.digitize(to_log_odds(probability[:, heard]), EDGES)
    return np.stack([np.bincount(row, minlength=NUM_BINS) / heard.sum() for row in bins])


def compare_spreads(
    stands_on: Sequence[FloatArray], music: Sequence[FloatArray], *, seed: int = 0
) -> Likeness:
    """Compare the spreads of some music with those of the songs that a detector stands on.

    Raises:
        ValueError: there are none of either.

    >>> quiet, loud = np.eye(2, NUM_BINS)[:, None]
    >>> compare_spreads([quiet] * 9, [loud] * 9).is_unlike
    True
    >>> compare_spreads([quiet, loud] * 5, [loud, quiet] * 5).is_unlike
    False
    """
    if not (stands_on and music):
        raise ValueError("there are no songs to compare")
    both = np.cumsum(np.stack([*stands_on, *music]), axis=2)
    num, num_songs = len(both), len(stands_on)
    flat = both.reshape(num, -1)
    rng = np.random.default_rng(seed)
    dealt = rng.permuted(np.tile(np.arange(num) < num_songs, (NUM_DEALS, 1)), axis=1)
    mine = np.vstack([np.arange(num) < num_songs, dealt]).astype(np.float64)
    apart = mine @ flat / num_songs - (1 - mine) @ flat / (num - num_songs)
    distances = np.abs(apart).reshape(len(mine), *both.shape[1:]).max(axis=2)
    # rounding must not tell one deal from itself
    as_far = (distances.max(axis=1) >= distances[0].max() - 1e-9).mean()
    return Likeness(
        distance=tuple(distances[0].tolist()),
        p_value=float(as_far),
        num_songs=num_songs,
        num_tracks=num - num_songs,
    )
