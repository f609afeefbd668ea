"""What ``evaluate`` is told: the models, the test songs, how to separate them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from flows.running.allowed import AllowImport
from flows.running.parameters import (
    PLACES,
    RUNTIME,
    CorpusName,
    Device,
    Options,
    Place,
    StageParameters,
)


class EvaluateOptions(Options):
    """How to separate the test songs."""

    matters: ClassVar[tuple[str, ...]] = ("shifts", "device")

    segment_s: float = Field(10.0, gt=0, description="Length of the pieces a song is separated in.")
    overlap: float = Field(0.25, ge=0, lt=1, description="Share of a piece that two pieces share.")
    shifts: int = Field(0, ge=0, le=100, description="Random shifts to average over.")
    device: Device = Field("auto", description="auto takes a GPU if there is one.")
    allow_import: AllowImport = Field([])


class EvaluateParameters(EvaluateOptions, StageParameters):
    """Which models to evaluate, on the test songs of which corpus, and what to compare them to."""

    labelled: CorpusName = Field("labelled", description="Corpus of labelled songs.")
    models: Annotated[list[str], RUNTIME] = Field(
        [], description="Models to evaluate and compare; empty takes all that are finished."
    )
    compare_to: Annotated[str, RUNTIME] = Field(
        "",
        description="Model, or name of published results, that each of the others is compared to; "
        "empty takes the model trained on labelled songs alone, if there is one such, else the "
        "first.",
    )
    published: Annotated[list[Place], PLACES, RUNTIME] = Field(
        [],
        description="Folders or URLs of other people's results on the same songs, as museval "
        "writes them (test/SONG.json or .json.gz), to stand in the same comparison. A pattern "
        "(results/demucs-seed*) names the runs of one method, which are averaged.",
    )
