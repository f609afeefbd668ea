"""What ``ingest`` is told: where the music is, what of it is usable, what counts as heard."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from demucs_core.activity import ActivityConfig
from flows.running.music_options import MusicOptions
from flows.running.parameters import (
    RUNTIME,
    BatchSize,
    CorpusName,
    Location,
    Options,
    StageParameters,
)
from storage.labelled.song_files import Absent

Truth = Literal["given", "stems", "mixture"]
"""Where a mixture is not the sum of its stems: both stay as they are, the mixture is made anew as
that sum, or what it holds beside the stems is part of the source ``other``."""

_activity = ActivityConfig()


class IngestOptions(Options):
    """What counts as usable music, and when a stem counts as heard."""

    min_file_s: float = Field(3.0, gt=0, description="Shorter files are rejected.")
    silence_db: float = Field(
        -70.0, lt=0, description="Files whose level in dBFS is below this are rejected as silent."
    )
    valid_share: float = Field(
        0.14,
        ge=0,
        lt=1,
        description="Share of the training songs held out for validation, where the labelled set "
        "has no valid/ folder: chosen by their names, but for MUSDB18's, where musdb says which.",
    )
    relative_db: float = Field(
        _activity.relative_db,
        lt=0,
        description="A stem this far below the mixture, in dB, counts as silent.",
    )
    absolute_db: float = Field(
        _activity.absolute_db, lt=0, description="A stem below this level in dBFS is silent."
    )
    close_gap_s: float = Field(
        _activity.close_gap_s, ge=0, description="Silences shorter than this count as active."
    )
    stems: str = Field(
        "",
        description="Which files of a labelled set hold which sources, where their names don't "
        'tell: SOURCE=PATTERN, ..., such as "vocals=lead*, vocals=choir*, skip=click*, other=*".',
    )
    absent: Absent = Field(
        "refuse",
        description="What a source is that a labelled song has no stem of, nor a mixture that "
        "holds it: a mistake, or silent.",
    )
    truth: Truth = Field(
        "given",
        description="Where a mixture is not the sum of its stems: leave both as given, take the "
        "sum of the stems for the mixture, or what the mixture holds besides for part of `other`.",
    )
    batch_files: BatchSize = Field(16, description="Files a Dask task decodes at once.")


class IngestParameters(IngestOptions, MusicOptions, StageParameters):
    """What to ingest, as which corpus."""

    matters: ClassVar[tuple[str, ...]] = (
        "sources",
        "sample_rate",
        "channels",
        "stems",
        "min_file_s",
    )

    source: Location = Field(
        description="Folder, glob, list of files (.txt, .m3u) or URL of unlabelled music; or, with "
        "labelled, the folder of a labelled set, or a folder or CSV file of single stems."
    )
    corpus: CorpusName = Field("music", description="Name to give the corpus.")
    labelled: Annotated[bool, RUNTIME] = Field(
        False,
        description="The source is a labelled set: MUSDB18, MUSDB18-HQ, folders of stems, or a "
        "library of single stems.",
    )
    require_test: Annotated[bool, RUNTIME] = Field(
        False, description="Refuse a labelled set without test songs."
    )
    complete: Annotated[bool, RUNTIME] = Field(
        False,
        description="Also make what rows of earlier versions have none of: acoustic fingerprints, "
        "measures and tags, of the audio and files as they are now.",
    )
    retry: Annotated[Literal["", "rejected"], RUNTIME] = Field(
        "", description="Look again at what was rejected, though it has not changed."
    )
