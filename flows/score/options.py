"""What ``score`` is told: the corpus, the detector, how much at once."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from flows.running.parameters import BatchSize, CorpusName, Device, StageParameters
from flows.running.selection_options import SelectionOptions


class ScoreOptions(SelectionOptions):
    """Which tracks to score, on what, and how much at once."""

    matters: ClassVar[tuple[str, ...]] = ("device", "batch_tracks")

    device: Device = Field("auto", description="auto takes a GPU if there is one.")
    batch_tracks: BatchSize = Field(16, description="Tracks a Dask task scores and writes at once.")
    batch_chunks: BatchSize = Field(8, description="Chunks scored at once on a GPU.")


class ScoreParameters(ScoreOptions, StageParameters):
    """Which corpus to score, with which detector."""

    corpus: CorpusName = Field("music", description="Corpus whose tracks are scored.")
    detector: str = Field(
        "",
        description="Detector to use, by id or name; empty takes the one named `default`, or else "
        "the newest.",
    )
