"""Recipes for remixes: which stems of labelled songs go into which silences, from where, how loud.

Shapes: S sources, F frames of a labelled song.

A recipe is data; audio is rendered when training asks for it. The recipe number i of a segment
depends on the seed, the segment's id, i and the pool of labelled stems, and on nothing else: not
on the other segments, nor on their order or number. After the pool is built, a recipe costs the
same for any number of stems.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demucs_core import HOP_SAMPLES, SAMPLE_RATE
from demucs_core.activity import power, to_db
from demucs_core.runs import counts_before

_ATTEMPTS = 16


@dataclass(frozen=True, kw_only=True)
class RemixConfig:
    """How recipes are drawn; every field changes them."""

    max_stem_s: float = 30.0
    """Longest excerpt of a stem (seconds); a longer segment is filled from its start."""
    min_active_share: float = 0.6
    """Least share of an excerpt's frames in which the stem is active, where the stem has such."""
    empty_share: float = 0.25
    """How often a segment silent in all sources but one gets no stem: a pure stem."""
    max_gain_db: float = 24.0
    """Largest change of level, up or down (dB): a stem raised further brings up its noise."""
    min_segment_s: float = 0.0
    """Shorter segments (seconds) get no recipe: training without masks needs whole crops."""
    one_source: bool = False
    """Use one silent source of a segment alone, as the paper does: what else is known to be
    silent in it counts as part of the others' sum."""

    def __post_init__(self) -> None:
        """Refuse shares outside [0, 1] and lengths that are not positive."""
        for name in ("min_active_share", "empty_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be in [0, 1]")
        if not self.min_segment_s >= 0:
            raise ValueError(f"min_segment_s is {self.min_segment_s}: it must be 0 or more")
        for name in ("max_stem_s", "max_gain_db"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")


@dataclass(frozen=True, kw_only=True)
class LabelledSong:
    """A labelled song as the pool sees it."""

    track_id: str
    """Name of the song in the labelled set."""
    num_samples: int
    """Its length."""
    active: NDArray[np.bool_]
    """Where each source is active, ``(S, F)``."""
    level_db: NDArray[np.float32]
    """Level of each stem, ``(S, F)`` dBFS."""


@dataclass(frozen=True, kw_only=True)
class SilentSegment:
    """A segment as the remixer sees it."""

    segment_id: str
    """Name of the segment, unique in the workspace."""
    num_samples: int
    """Its length."""
    silent: tuple[str, ...]
    """Sources silent in it."""
    level_db: float
    """RMS level of its mixture (dBFS)."""


@dataclass(frozen=True, kw_only=True)
class AddedStem:
    """An excerpt of a labelled stem that a recipe adds, from the segment's first sample on."""

    source: str
    """Source of the stem, silent in the segment."""
    stem_track_id: str
    """Labelled song it comes from."""
    stem_start_sample: int
    """First sample of the excerpt; the stem is active there."""
    stem_num_samples: int
    """Length of the excerpt, at most that of the segment."""
    gain_db: float
    """Gain of the excerpt (dB)."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A remix: a segment and what is added to it."""

    segment_id: str
    """The segment."""
    index: int
    """Number of this recipe among those of the segment."""
    silent: tuple[str, ...]
    """The silent sources of the segment that the remix makes use of."""
    added: tuple[AddedStem, ...]
    """One stem at most for each silent source; a silent source without one stays silent."""


class StemPool:
    """Labelled stems, indexed so that an active excerpt of a source is found at once."""

    def __init__(
        self,
        songs: Sequence[LabelledSong],
        sources: Sequence[str],
        *,
        hop_samples: int = HOP_SAMPLES,
        sample_rate: int = SAMPLE_RATE,
    ) -> None:
        """Index songs; raises `ValueError` where arrays do not fit or a source is never active."""
        self.hop_samples = hop_samples
        self.sample_rate = sample_rate
        self._sources: dict[str, _SourcePool] = {}
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
            self._sources[source] = _SourcePool(songs, index, hop_samples, sample_rate)

    def source(self, name: str) -> _SourcePool:
        """The stems of one source; `ValueError` if the labelled set has none that sounds."""
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


class _SourcePool:
    def __init__(
        self, songs: Sequence[LabelledSong], source: int, hop_samples: int, sample_rate: int
    ) -> None:
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
        window = max(1, round(3.0 * sample_rate / hop_samples))
        levels = [_relative_levels(song, source, window) for song in songs]
        found = np.sort(np.concatenate([np.zeros(0), *levels]))
        # A source that only ever plays alone has no relative level: as loud as the rest, then.
        self.relative_levels_db = found if len(found) else np.zeros(1)

    def draw_excerpt(
        self, num_frames: int, min_active_share: float, rng: np.random.Generator
    ) -> tuple[int, int, float]:
        """Song, first frame and level (dBFS, over its active frames) of an active excerpt.

        Every active frame of the labelled set is equally likely to start it; the first of a few
        draws with the wanted share of activity is taken, or the most active of them.
        """
        draws = rng.integers(self.num_active_frames, size=_ATTEMPTS)
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


def draw_recipes(
    segments: Iterable[SilentSegment],
    pool: StemPool,
    *,
    remixes_per_segment: int,
    seed: int,
    config: RemixConfig | None = None,
) -> list[Recipe]:
    """Recipes for each segment, `remixes_per_segment` of each, in the segments' order.

    Of a segment's silent sources a random subset, at least one, gets a stem each; where all
    sources but one are silent, now and then none does, and the segment is a pure stem. The level
    of the stem relative to the segment is drawn from those of the labelled set. Segments shorter
    than the configuration wants are passed over.
    """
    if remixes_per_segment < 1:
        raise ValueError(f"remixes_per_segment is {remixes_per_segment}: it must be 1 or more")
    config = config or RemixConfig()
    return [
        _draw_recipe(segment, index, pool, seed, config)
        for segment in segments
        if segment.num_samples >= config.min_segment_s * pool.sample_rate
        for index in range(remixes_per_segment)
    ]


def _draw_recipe(
    segment: SilentSegment, index: int, pool: StemPool, seed: int, config: RemixConfig
) -> Recipe:
    if not segment.silent or segment.num_samples < 1:
        raise ValueError(f"segment {segment.segment_id} has no silent source or no samples")
    rng = _generator(seed, segment.segment_id, index)
    silent = (str(rng.choice(segment.silent)),) if config.one_source else segment.silent
    num_silent = len(silent)
    is_pure = num_silent >= 3 and rng.random() < config.empty_share
    num_added = 0 if is_pure else int(rng.integers(1, num_silent + 1))
    chosen = sorted(rng.choice(num_silent, size=num_added, replace=False).tolist())
    added = tuple(_add_stem(segment, silent[i], pool, rng, config) for i in chosen)
    return Recipe(segment_id=segment.segment_id, index=index, silent=silent, added=added)


def _add_stem(
    segment: SilentSegment,
    source: str,
    pool: StemPool,
    rng: np.random.Generator,
    config: RemixConfig,
) -> AddedStem:
    stems = pool.source(source)
    wanted = min(segment.num_samples, round(config.max_stem_s * pool.sample_rate))
    num_frames = -(-wanted // pool.hop_samples)
    song, start_frame, level_db = stems.draw_excerpt(num_frames, config.min_active_share, rng)
    start = start_frame * pool.hop_samples
    relative_db = float(rng.choice(stems.relative_levels_db))
    gain_db = segment.level_db + relative_db - level_db
    return AddedStem(
        source=source,
        stem_track_id=stems.track_ids[song],
        stem_start_sample=start,
        stem_num_samples=min(wanted, int(stems.num_samples[song]) - start),
        gain_db=float(np.clip(gain_db, -config.max_gain_db, config.max_gain_db)),
    )


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


def _generator(seed: int, segment_id: str, index: int) -> np.random.Generator:
    key = hashlib.blake2b(f"{seed}/{index}/{segment_id}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(key, "big"))
