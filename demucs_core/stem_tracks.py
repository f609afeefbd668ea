"""Labelled songs as training draws them: which sources each stem is the sum of, and from whom.

Most songs have a stem for each source. A partially labelled one has stems that are sums, of the
accompaniment say; a single stem of a library has one source, and nothing is known of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

Group = tuple[int, ...]
"""Indexes of the sources in a sum, in order."""


@dataclass(frozen=True, kw_only=True)
class StemTrack:
    """A labelled song, or a single stem.

    Attributes:
        track_id: name of the song.
        num_samples: length of every stem.
        paths: each stem's audio, for the reader.
        groups: the sources that each of them is the sum of; by default one source each, in order.

    Raises:
        ValueError: a source is in two stems, or a stem in none; with the song's name.
    """

    track_id: str
    num_samples: int
    paths: tuple[str, ...]
    groups: tuple[Group, ...] = ()

    def __post_init__(self) -> None:
        if not self.groups:
            object.__setattr__(self, "groups", tuple((place,) for place in range(len(self.paths))))
        members = [source for group in self.groups for source in group]
        if len(self.groups) != len(self.paths) or not all(self.groups):
            raise ValueError(
                f"{self.track_id} has {len(self.paths)} stems and {len(self.groups)} groups of "
                "sources, which must be as many and not empty"
            )
        if len(set(members)) != len(members):
            raise ValueError(f"{self.track_id} has a source in two stems: {list(self.groups)}")

    def path_of(self, group: Group) -> str:
        """The stem that is the sum of these sources."""
        return self.paths[self.groups.index(group)]

    def knows_all(self, num_sources: int) -> bool:
        """Whether its stems add up to a whole song."""
        return sum(map(len, self.groups)) == num_sources


Track = TypeVar("Track", bound=StemTrack)


class TrackPool(Generic[Track]):
    """Songs and single stems to draw from, all of the same sources.

    Attributes:
        whole: the songs, in the order given.
        groups: what an example is made of that takes each stem from a track of its own: each
            source by itself, where somebody has it so, or else nothing; then such an example has
            the groups of one of the songs.

    Raises:
        ValueError: neither is there a song, nor a stem for each source; or a source out of range.
    """

    def __init__(self, tracks: Sequence[Track], num_sources: int) -> None:
        self.whole = [track for track in tracks if track.knows_all(num_sources)]
        self._having: dict[Group, list[Track]] = {}
        for track in tracks:
            for group in track.groups:
                if not 0 <= min(group) <= max(group) < num_sources:
                    raise ValueError(
                        f"track {track.track_id} has stems of sources {list(track.groups)}, "
                        f"expected 0 to {num_sources - 1}"
                    )
                self._having.setdefault(group, []).append(track)
        alone = tuple((source,) for source in range(num_sources))
        missing = [source for (source,) in alone if (source,) not in self._having]
        self.groups: tuple[Group, ...] = () if missing else alone
        if tracks and missing and not self.whole:
            raise ValueError(
                f"no labelled song is whole, and no stem has source {missing[0]} by itself: there "
                "is nothing to make examples of"
            )

    def draw_whole(self, rng: np.random.Generator) -> Track:
        """A song, each equally likely."""
        return self.whole[int(rng.integers(len(self.whole)))]

    def draw_having(self, rng: np.random.Generator, group: Group) -> Track:
        """A song or single stem that has the sum of these sources, each equally likely."""
        having = self._having[group]
        return having[int(rng.integers(len(having)))]
