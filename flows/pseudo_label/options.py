"""What ``pseudo-label`` is told: the teacher, the music, what counts as sure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.running.allowed import AllowImport
from flows.running.parameters import RUNTIME, CorpusName, Device, StageParameters
from flows.running.selection_options import SelectionOptions


class PseudoLabelParameters(SelectionOptions, StageParameters):
    """Whose estimates of which corpus are taken for labels, and where they are sure."""

    corpus: CorpusName = Field("music", description="Corpus whose tracks are separated.")
    model: Annotated[str, RUNTIME] = Field(
        "",
        description="The teacher: a model of the workspace; empty takes the only one there is, or "
        "of several the one that was named `default`.",
    )
    labelled: CorpusName = Field(
        "labelled",
        description="Corpus of labelled songs: its validation songs decide what counts as sure.",
    )
    into: str = Field(
        "",
        description="Corpus that the recipes belong to, for train's `corpora`; empty takes "
        "CORPUS-pseudo.",
    )
    keep_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the validation songs that would count as sure; of the corpus it may "
        "be another.",
    )
    window_s: float = Field(
        1.0, ge=0.1, description="Length in seconds of what is judged by itself."
    )
    min_duration_s: float = Field(
        2.0, gt=0, description="Shortest stretch in seconds that is kept."
    )
    silence_db: float = Field(
        -60.0, le=0, description="Where the track is below this level, in dBFS, nothing is kept."
    )
    passes: int = Field(
        2, ge=2, le=100, description="Separations with other random shifts; labels are their mean."
    )
    segment_s: float = Field(
        10.0, gt=0, description="Length of the pieces a track is separated in."
    )
    overlap: float = Field(0.25, ge=0, lt=1, description="Share of a piece that two pieces share.")
    mixed_per_stretch: int = Field(
        1,
        ge=0,
        le=100,
        description="Recipes, beside each stretch's own, that take each source from a stretch of "
        "any track of the batch.",
    )
    # which tracks a mixed recipe draws from
    batch_tracks: int = Field(
        16, ge=1, le=4096, description="Tracks a Dask task separates and writes at once."
    )
    seed: int = Field(0, ge=0, description="Decides the shifts and what is mixed.")
    device: Device = Field("auto", description="auto takes a GPU if there is one.")
    allow_import: AllowImport = Field([])
