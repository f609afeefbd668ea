"""Recipes for remixes: which stems of labelled songs go into which silences, from where, how loud.

A recipe is data; audio is rendered when training asks for it. The recipe number i of a segment
depends on the seed, the segment and its tempo and key, i and the pool of labelled stems, and on
nothing else: not on the other segments, nor on their order or number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from demucs_core.configuration import (
    check_above,
    check_at_least,
    check_one_of,
    check_range,
    check_share,
)
from demucs_core.remixing.matching import MATCHES, Fit, Match, TempoKey
from demucs_core.remixing.stem_pool import StemPool


@dataclass(frozen=True, kw_only=True)
class RemixConfig:
    """How recipes are drawn; every field changes them.

    Attributes:
        max_stem_s: longest excerpt of a stem (seconds); in a longer segment, training puts it
            anywhere.
        min_active_share: least share of an excerpt's frames in which the stem is active, where the
            stem has such.
        empty_share: how often a segment silent in all sources but one gets no stem: a pure stem.
        max_gain_db: largest change of level, up or down (dB): a stem raised further brings up its
            noise.
        match: what a stem must share with the segment; where no song does, the nearest is taken.
        max_tempo_change: tempos fit within this share of each other, or of half or double.
        max_key_steps: keys fit up to this many steps apart on the circle of fifths.
        min_segment_s: shorter segments (seconds) get no recipe: training without masks needs whole
            crops.
        one_source: use one silent source of a segment alone, as the paper does: what else is known
            to be silent in it counts as part of the others' sum.

    Raises:
        ValueError: a field out of range, by name.
    """

    max_stem_s: float = 30.0
    min_active_share: float = 0.6
    empty_share: float = 0.25
    max_gain_db: float = 24.0
    match: Match = "none"
    max_tempo_change: float = 0.04
    max_key_steps: int = 1
    min_segment_s: float = 0.0
    one_source: bool = False

    def __post_init__(self) -> None:
        check_share(self, "min_active_share", "empty_share")
        check_at_least(self, 0, "min_segment_s")
        check_above(self, 0, "max_stem_s", "max_gain_db", "max_tempo_change")
        check_range(self, 0, 6, "max_key_steps")
        check_one_of(self, MATCHES, "match")


@dataclass(frozen=True, kw_only=True)
class SilentSegment:
    """A segment as the remixer sees it.

    Attributes:
        segment_id: name of the segment, unique in the workspace.
        num_samples: its length.
        silent: sources silent in it.
        level_db: RMS level of its mixture (dBFS).
        tempo_key: tempo and key of its track, if known.
    """

    segment_id: str
    num_samples: int
    silent: tuple[str, ...]
    level_db: float
    tempo_key: TempoKey | None = None


@dataclass(frozen=True, kw_only=True)
class DrawnStem:
    """An excerpt of a labelled stem that a recipe adds, from the segment's first sample on.

    Attributes:
        source: source of the stem, silent in the segment.
        stem_track_id: labelled song it comes from.
        stem_start_sample: first sample of the excerpt; the stem is active there.
        stem_num_samples: length of the excerpt, at most that of the segment.
        gain_db: gain of the excerpt (dB).
        fit: how well its tempo and key go with the segment's, where they were matched.
    """

    source: str
    stem_track_id: str
    stem_start_sample: int
    stem_num_samples: int
    gain_db: float
    fit: Fit


@dataclass(frozen=True, kw_only=True)
class DrawnRecipe:
    """What was drawn for a segment: which of its silences are used, and what is added.

    Attributes:
        segment_id: the segment.
        index: number of this recipe among those of the segment.
        silent: the silent sources of the segment that the remix makes use of.
        added: one stem at most for each silent source; a silent source without one stays silent.
    """

    segment_id: str
    index: int
    silent: tuple[str, ...]
    added: tuple[DrawnStem, ...]


def draw_recipes(
    segments: Iterable[SilentSegment],
    pool: StemPool,
    *,
    remixes_per_segment: int,
    seed: int,
    config: RemixConfig | None = None,
) -> list[DrawnRecipe]:
    """Recipes for each segment, in the segments' order.

    Of a segment's silent sources a random subset, at least one, gets a stem each; where all
    sources but one are silent, now and then none does, and the segment is a pure stem. The level
    of the stem relative to the segment is drawn from those of the labelled set. Segments shorter
    than the configuration wants are passed over.

    Args:
        segments: what to add stems to.
        pool: where stems come from.
        remixes_per_segment: recipes for each segment.
        seed: decides what is drawn.
        config: how; by default, as the defaults say.

    Raises:
        ValueError: no recipe is asked for, or a silent source that the pool has no stem of.
    """
    if remixes_per_segment < 1:
        raise ValueError(f"remixes_per_segment must be at least 1, not {remixes_per_segment}")
    config = config or RemixConfig()
    return [
        _draw_recipe(segment, index, pool, seed, config)
        for segment in segments
        if segment.num_samples >= config.min_segment_s * pool.sample_rate
        for index in range(remixes_per_segment)
    ]


def _draw_recipe(
    segment: SilentSegment, index: int, pool: StemPool, seed: int, config: RemixConfig
) -> DrawnRecipe:
    if not segment.silent or segment.num_samples < 1:
        raise ValueError(f"segment {segment.segment_id} has no silent source or no samples")
    rng = _generator(seed, segment.segment_id, index)
    silent = (str(rng.choice(segment.silent)),) if config.one_source else segment.silent
    num_silent = len(silent)
    is_pure = num_silent >= 3 and rng.random() < config.empty_share
    num_added = 0 if is_pure else int(rng.integers(1, num_silent + 1))
    chosen = sorted(rng.choice(num_silent, size=num_added, replace=False).tolist())
    added = tuple(_add_stem(segment, silent[i], pool, rng, config) for i in chosen)
    return DrawnRecipe(segment_id=segment.segment_id, index=index, silent=silent, added=added)


def _add_stem(
    segment: SilentSegment,
    source: str,
    pool: StemPool,
    rng: np.random.Generator,
    config: RemixConfig,
) -> DrawnStem:
    stems = pool.source(source)
    wanted = min(segment.num_samples, round(config.max_stem_s * pool.sample_rate))
    num_frames = -(-wanted // pool.hop_samples)
    fits = None
    if config.match != "none" and segment.tempo_key is not None:
        fits = stems.best_songs(
            segment.tempo_key, config.match, config.max_tempo_change, config.max_key_steps
        )
    song, start_frame, level_db = stems.draw_excerpt(
        num_frames, config.min_active_share, rng, songs=list(fits) if fits else None
    )
    start = start_frame * pool.hop_samples
    relative_db = float(rng.choice(stems.relative_levels_db))
    gain_db = segment.level_db + relative_db - level_db
    return DrawnStem(
        source=source,
        stem_track_id=stems.track_ids[song],
        stem_start_sample=start,
        stem_num_samples=min(wanted, int(stems.num_samples[song]) - start),
        gain_db=float(np.clip(gain_db, -config.max_gain_db, config.max_gain_db)),
        fit=fits[song] if fits else Fit(),
    )


def _generator(seed: int, segment_id: str, index: int) -> np.random.Generator:
    key = hashlib.blake2b(f"{seed}/{index}/{segment_id}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(key, "big"))
