"""Recipes as training sees them: a segment in which sources are silent, and stems to add to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class AddedStem:
    """An excerpt of a labelled stem that a recipe adds to a segment.

    Attributes:
        source: index of the source.
        path: the stem's audio, for the reader.
        num_samples: length of that audio.
        start_sample: first sample of the excerpt in it.
        excerpt_samples: length of the excerpt: as long as the segment, or shorter.
        gain_db: gain on the stem.

    Raises:
        ValueError: the excerpt isn't inside the audio; with its path.
    """

    source: int
    path: str
    num_samples: int
    start_sample: int
    excerpt_samples: int
    gain_db: float

    def __post_init__(self) -> None:
        start, stop = self.start_sample, self.start_sample + self.excerpt_samples
        if not 0 <= start < stop <= self.num_samples:
            raise ValueError(
                f"stem {self.path}: excerpt [{start}, {stop}) is not inside its "
                f"{self.num_samples} samples"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe: a segment of an unlabelled track with silent sources, and stems to add to it.

    Attributes:
        remix_id: name, for messages.
        track_path: the track's audio, for the reader.
        track_num_samples: length of the track.
        segment_start_sample: first sample of the segment.
        segment_stop_sample: one past its last sample.
        silent: indexes of the sources that are silent in the segment.
        added: at most one stem for each silent source.
        weight: weight in the loss, the detector's confidence for example.

    Raises:
        ValueError: the segment isn't inside the track, or a stem is added to a source that isn't
            silent or has one already.
    """

    remix_id: str
    track_path: str
    track_num_samples: int
    segment_start_sample: int
    segment_stop_sample: int
    silent: tuple[int, ...]
    added: tuple[AddedStem, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        start, stop = self.segment_start_sample, self.segment_stop_sample
        if not 0 <= start < stop <= self.track_num_samples:
            raise ValueError(
                f"remix {self.remix_id}: segment [{start}, {stop}) is not inside its track of "
                f"{self.track_num_samples} samples"
            )
        sources = [stem.source for stem in self.added]
        if len(set(sources)) != len(sources) or not set(sources) <= set(self.silent):
            raise ValueError(
                f"remix {self.remix_id}: stems are added to sources {sources}, which must differ "
                f"and be among the silent ones, {list(self.silent)}"
            )

    @property
    def known_samples(self) -> int:
        """How long segment and added stems sound together: as the shortest of them."""
        segment_samples = self.segment_stop_sample - self.segment_start_sample
        return min([segment_samples, *(stem.excerpt_samples for stem in self.added)])


class RecipePools(Protocol):
    """Recipes by what they tell about, to draw from: as many as you like, since none need be held.

    Two of the same recipes must have them in the same order. To work in loader processes, it must
    pickle, and be small then.
    """

    @property
    def sizes(self) -> Sequence[Sequence[int]]:
        """How many recipes there are: by source that they tell about, then by silent sources."""
        ...

    def recipe(self, source: int, groups: int, number: int) -> Recipe:
        """One recipe, by its place in :attr:`sizes` and its number there."""
        ...


class RecipeList:
    """Recipes that are held in memory, in the order given.

    Args:
        recipes: all of them.
        num_sources: number of sources.

    Raises:
        ValueError: a recipe has no silent source, or one that there is not.
    """

    def __init__(self, recipes: Sequence[Recipe], num_sources: int) -> None:
        pools: dict[int, dict[tuple[int, ...], list[Recipe]]] = {}
        for recipe in recipes:
            wrong = [source for source in recipe.silent if not 0 <= source < num_sources]
            if wrong or not recipe.silent:
                raise ValueError(
                    f"remix {recipe.remix_id}: silent sources {list(recipe.silent)} must be some "
                    f"of 0 to {num_sources - 1}"
                )
            filled = [stem.source for stem in recipe.added]
            for source in taught_sources(recipe.silent, filled, num_sources):
                by_groups = pools.setdefault(source, {})
                by_groups.setdefault(tuple(sorted(recipe.silent)), []).append(recipe)
        self._pools = [
            [pools[source][key] for key in sorted(pools[source])] for source in sorted(pools)
        ]

    @property
    def sizes(self) -> list[list[int]]:
        """How many recipes there are: by source that they tell about, then by silent sources."""
        return [[len(pool) for pool in by_groups] for by_groups in self._pools]

    def recipe(self, source: int, groups: int, number: int) -> Recipe:
        """One recipe, by its place in :attr:`sizes` and its number there."""
        return self._pools[source][groups][number]


def taught_sources(
    silent: Sequence[int], filled: Sequence[int], num_sources: int
) -> tuple[int, ...]:
    """Return the sources that a recipe tells most about, for drawing recipes evenly over them.

    Those with a stem added, and the one that sounds where all others are silent; failing both,
    those that are silent.

    Args:
        silent: the sources that are silent in the segment.
        filled: those of them that a stem is added to.
        num_sources: number of sources.
    """
    sounding = [source for source in range(num_sources) if source not in silent]
    alone = sounding if len(sounding) == 1 else []
    return (*filled, *alone) or tuple(silent)
