"""What ``remix`` is told: whose segments, whose stems, how recipes are drawn."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from demucs_core.remixing.matching import Match
from demucs_core.remixing.recipes import RemixConfig
from flows.running.parameters import CorpusName, Libraries, StageParameters
from flows.running.selection_options import SelectionOptions

_defaults = RemixConfig()


class RemixOptions(SelectionOptions):
    """How recipes are drawn."""

    matters: ClassVar[tuple[str, ...]] = (
        "remixes_per_segment",
        "match",
        "one_source",
        "empty_share",
        "seed",
    )

    remixes_per_segment: int = Field(4, ge=1, le=1000, description="Recipes drawn a segment.")
    max_stem_s: float = Field(
        _defaults.max_stem_s,
        gt=0,
        description="Longest stem excerpt in seconds; in a longer segment, it may be anywhere.",
    )
    min_active_share: float = Field(
        _defaults.min_active_share,
        ge=0,
        le=1,
        description="Least share of an excerpt in which its stem sounds, where there is such.",
    )
    empty_share: float = Field(
        _defaults.empty_share,
        ge=0,
        le=1,
        description="How often a segment with one source left gets no stem: a pure stem.",
    )
    max_gain_db: float = Field(
        _defaults.max_gain_db, gt=0, description="Largest change of a stem's level in dB."
    )
    match: Match = Field(
        _defaults.match,
        description="What a stem shares with the segment: nothing, tempo, key or both; what has no "
        "pitch, such as drums, is matched by tempo alone. Needs the extra `matching`.",
    )
    max_tempo_change: float = Field(
        _defaults.max_tempo_change,
        gt=0,
        lt=0.4,
        description="Tempos fit within this share of each other, or of half or double.",
    )
    max_key_steps: int = Field(
        _defaults.max_key_steps,
        ge=0,
        le=6,
        description="Keys fit up to this many steps apart on the circle of fifths.",
    )
    min_segment_s: float = Field(
        _defaults.min_segment_s,
        ge=0,
        description="Shorter segments are left out; training without masks needs the crop's "
        "length here.",
    )
    one_source: bool = Field(
        _defaults.one_source,
        description="Use one silent source of a segment alone, as the paper does: what else is "
        "silent in it counts as part of the others' sum.",
    )
    seed: int = Field(0, ge=0, description="Decides what is drawn.")


class RemixParameters(RemixOptions, StageParameters):
    """Whose segments to remix, with whose stems."""

    corpus: CorpusName = Field("music", description="Corpus whose segments are remixed.")
    labelled: str = Field("labelled", description="Corpus of labelled songs the stems come from.")
    libraries: Libraries = Field([])
    segments: str = Field(
        "", description="Fingerprint of the segments; empty takes the last that were extracted."
    )
