"""What of the training data is known source by source: songs, and remixes as far as they are."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from demucs_core.training.recipes import Recipe
from flows.inputs.songs import Song
from storage.labelled.song import sources_of
from storage.music_format import MIXTURE
from storage.reading import CropReader


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A stretch of canonical audio, at some level.

    Attributes:
        path: of the audio, relative to the workspace.
        start_sample: first sample of the stretch.
        gain_db: what it is raised by.
    """

    path: str
    start_sample: int = 0
    gain_db: float = 0.0

    def read(self, reader: CropReader, first: int, num_samples: int) -> NDArray[np.float32]:
        """Samples ``(C, n)`` from ``first`` on, counted from the stretch's beginning."""
        audio = reader(self.path, self.start_sample + first, num_samples)
        return audio * np.float32(10 ** (self.gain_db / 20))


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Music of which some stems are known.

    Attributes:
        name: of its files.
        kind: ``song`` or ``remix``.
        id: of the song or the remix, in the manifests.
        num_samples: how long it is.
        stems: what each stem is the sum of; of nothing, where it is silent.
    """

    name: str
    kind: str
    id: str
    num_samples: int
    stems: Mapping[str, tuple[Clip, ...]]

    def render(
        self, stem: str, reader: CropReader, first: int, num_samples: int, num_channels: int
    ) -> NDArray[np.float32]:
        """Samples ``(C, n)`` of a stem."""
        silence = np.zeros((num_channels, num_samples), dtype=np.float32)
        clips = (clip.read(reader, first, num_samples) for clip in self.stems[stem])
        return reduce(np.add, clips, silence)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which stems pieces should have.

    Attributes:
        sources: of the workspace, in order.
        target: the one that is wanted, or empty for all.
        rest: what the sum of the others is called where one is wanted.
        whole: only pieces of which every stem is known.
    """

    sources: Sequence[str]
    target: str
    rest: str
    whole: bool

    def of_song(self, song: Song, name: str) -> Piece | None:
        """A song's stems, or None where they are not known as wanted."""
        stems: dict[str, tuple[Clip, ...]] = {}
        for known, path in song.paths.items():
            if known != MIXTURE:
                stems[known] = (Clip(path=path),)
        if self.target:
            complete = {each for known in stems for each in sources_of(known)} == {*self.sources}
            if self.target not in stems or not complete:
                return None
            others = [clip for known in stems if known != self.target for clip in stems[known]]
            stems = {self.target: stems[self.target]}
            stems[self.rest] = tuple(others)
        else:
            stems = {source: stems[source] for source in self.sources if source in stems}
        if not stems or (self.whole and len(stems) < self._num_stems):
            return None
        return Piece(
            name=name, kind="song", id=song.track_id, num_samples=song.num_samples, stems=stems
        )

    def of_recipe(self, recipe: Recipe) -> Piece | None:
        """A remix's stems where all are known together, or None where they are not as wanted.

        Of a target it is known what was added, and of the rest the sum. All sources are known apart
        where at most one of them sounds in the segment.
        """
        added = {
            self.sources[stem.source]: Clip(
                path=stem.path, start_sample=stem.start_sample, gain_db=stem.gain_db
            )
            for stem in recipe.added
        }
        segment = Clip(path=recipe.track_path, start_sample=recipe.segment_start_sample)
        sounding = [
            source for place, source in enumerate(self.sources) if place not in recipe.silent
        ]
        stems: dict[str, tuple[Clip, ...]]
        if self.target:
            if self.target not in added:
                return None
            others = [clip for source, clip in added.items() if source != self.target]
            stems = {self.target: (added[self.target],), self.rest: (segment, *others)}
        elif len(sounding) > 1:
            return None
        else:
            stems = {
                source: (segment,) if source in sounding
                else (added[source],) if source in added else ()
                for source in self.sources
            }  # fmt: skip
            if not self.whole:
                stems = {source: clips for source, clips in stems.items() if clips}
        return Piece(
            name=f"remix-{recipe.remix_id}",
            kind="remix",
            id=recipe.remix_id,
            num_samples=recipe.known_samples,
            stems=stems,
        )

    def of_recipes(self, recipes: Iterator[Recipe], most: int) -> list[Piece]:
        """Those of many recipes that are known as wanted; at most so many, whichever come first."""
        found = (piece for recipe in recipes if (piece := self.of_recipe(recipe)) is not None)
        # ids are hashes: those that come first are any
        return heapq.nsmallest(most, found, key=lambda piece: piece.id)

    @property
    def _num_stems(self) -> int:
        return 2 if self.target else len(self.sources)
