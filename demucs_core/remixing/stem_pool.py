"""Labelled stems, indexed so that an active excerpt is found at once, among all or some songs.

Shapes: S sources, F frames of a labelled song.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demucs_core.activity import power, to_db
from demucs_core.remixing.matching import Fit, Match, TempoKey, best_fits, fit_of
from demucs_core.runs import counts_before

_ATTEMPTS = 16


@dataclass(frozen=True, kw_only=True)
class LabelledSong:
    """A labelled song as the pool sees it.

    Attributes:
        track_id: name of the song in the labelled set.
        num_samples: its length.
        active: where each source is active, ``(S, F)``.
        level_db: level of each stem, ``(S, F)`` dBFS.
        tempo_key: its tempo and key, if known.
    """

    track_id: str
    num_samples: int
    active: NDArray[np.bool_]
    level_db: NDArray[np.float32]
    tempo_key: TempoKey | None = None


class StemPool:
    """Labelled stems, indexed so that an active excerpt of a source is found at once."""

    def __init__(
        self,
        songs: Sequence[LabelledSong],
        sources: Sequence[str],
        *,
        hop_samples: int,
        sample_rate: int,
    ) -> None:
        """Index songs.

        Raises:
            ValueError: arrays that do not fit, or a source that is never active.
        """
        self.hop_samples = hop_samples
        self.sample_rate = sample_rate
        self._sources: dict[str, SourcePool] = {}
        # Sorted, so that the pool is a set: its order in a manifest changes no recipe.
        songs = sorted(songs, key=lambda song: song.track_id)
        for song in songs:
            shape = (len(sources), -(-song.num_samples // hop_samples))
            if song.active.shape != shape or song.level_db.shape != shape:
                raise ValueError(
                    f"{song.track_id}: activity has shape {song.active.shape} and levels "
                    f"{song.level_db.shape}, expected {shape}"
                )
        for index, source in enumerate(sources):
            self._sources[source] = SourcePool(songs, index, source, hop_samples, sample_rate)

    def source(self, name: str) -> SourcePool:
        """The stems of one source.

        Raises:
            ValueError: the labelled set has none that sounds.
        """
        if name not in self._sources:
            raise ValueError(
                f"source {name!r} is not in the labelled set, which has {', '.join(self._sources)}"
            )
        pool = self._sources[name]
        if pool.num_active_frames == 0:
            raise ValueError(f"no labelled stem of {name} is ever active: nothing to remix with")
        return pool

    def relative_levels_db(self, name: str) -> NDArray[np.float64]:
        """Levels of a source relative to the rest of its songs, over active seconds, sorted."""
        return self.source(name).relative_levels_db


class SourcePool:
    """The stems of one source, indexed by their active frames."""

    def __init__(
        self,
        songs: Sequence[LabelledSong],
        source: int,
        name: str,
        hop_samples: int,
        sample_rate: int,
    ) -> None:
        self.name = name
        self.track_ids = [song.track_id for song in songs]
        self.num_samples = np.array([song.num_samples for song in songs], dtype=np.int64)
        active = [song.active[source] for song in songs]
        self.active_before = [counts_before(row) for row in active]
        energy = [power(song.level_db[source]) * song.active[source] for song in songs]
        self.energy_before = [np.concatenate([[0.0], np.cumsum(row)]) for row in energy]
        self.song_of = np.repeat(np.arange(len(songs)), [int(row.sum()) for row in active])
        frames = [np.flatnonzero(row) for row in active]
        self.frame_of = np.concatenate(frames) if frames else np.zeros(0, dtype=np.int64)
        self.num_active_frames = len(self.frame_of)
        # the active frames of a song lie together
        self.first_of_song = np.searchsorted(self.song_of, np.arange(len(songs) + 1))
        self.tempo_keys = {
            place: song.tempo_key
            for place, song in enumerate(songs)
            if song.tempo_key is not None and active[place].any()
        }
        window = max(1, round(3.0 * sample_rate / hop_samples))
        levels = [_relative_levels(song, source, window) for song in songs]
        found = np.sort(np.concatenate([np.zeros(0), *levels]))
        # A source that only ever plays alone has no relative level: as loud as the rest, then.
        self.relative_levels_db = found if len(found) else np.zeros(1)

    def best_songs(
        self, segment: TempoKey, match: Match, max_tempo_change: float, max_key_steps: int
    ) -> dict[int, Fit]:
        """Songs whose stems go with a segment, or are the nearest to it, and how well they do.

        None where the tempo and key of no song with such a stem are known.
        """
        fits = {
            song: fit_of(match, self.name, segment, tempo_key)
            for song, tempo_key in self.tempo_keys.items()
        }
        best = best_fits(list(fits.values()), max_tempo_change, max_key_steps)
        songs = list(fits)
        return {songs[place]: fits[songs[place]] for place in best}

    def draw_excerpt(
        self,
        num_frames: int,
        min_active_share: float,
        rng: np.random.Generator,
        songs: Sequence[int] | None = None,
    ) -> tuple[int, int, float]:
        """Song, first frame and level (dBFS, over its active frames) of an active excerpt.

        Every active frame of ``songs``, or of the whole labelled set, is equally likely to start
        it; the first of a few draws with the wanted share of activity is taken, or the most active
        of them.
        """
        if songs is None:
            draws = rng.integers(self.num_active_frames, size=_ATTEMPTS)
        else:
            first, last = self.first_of_song[:-1][songs], self.first_of_song[1:][songs]
            before = np.concatenate([[0], np.cumsum(last - first)])
            drawn = rng.integers(before[-1], size=_ATTEMPTS)
            place = np.searchsorted(before, drawn, side="right") - 1
            draws = first[place] + drawn - before[place]
        best, best_count = (0, 0), -1
        for draw in draws.tolist():
            song, start = int(self.song_of[draw]), int(self.frame_of[draw])
            before = self.active_before[song]
            stop = min(start + num_frames, len(before) - 1)
            count = int(before[stop] - before[start])
            if count > best_count:
                best, best_count = (song, start), count
            if count >= min_active_share * num_frames:
                break
        song, start = best
        stop = min(start + num_frames, len(self.active_before[song]) - 1)
        energy = self.energy_before[song]
        mean_square = (energy[stop] - energy[start]) / best_count
        return song, start, float(to_db(np.array([mean_square]))[0])


def _relative_levels(song: LabelledSong, source: int, window: int) -> NDArray[np.float64]:
    """Level of the stem less that of the others' sum, where it is active, by windows of frames."""
    active = song.active[source]
    own = power(song.level_db[source]) * active
    energies = power(song.level_db)
    rest = (energies.sum(axis=0) - energies[source]) * active
    first = np.arange(0, len(active), window)
    counts = np.add.reduceat(active.astype(np.int64), first)
    own_sum, rest_sum = np.add.reduceat(own, first), np.add.reduceat(rest, first)
    # A solo has no rest to be relative to: windows where the rest is 40 dB down say nothing.
    valid = (2 * counts >= window) & (rest_sum > 1e-4 * own_sum)
    return np.asarray(10.0 * np.log10(own_sum[valid] / rest_sum[valid]))
