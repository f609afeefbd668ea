"""What ``export model`` and ``export data`` are told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flows.running.allowed import AllowImport
from flows.running.parameters import CorpusName, Libraries, Options

Format = Literal["safetensors", "onnx", "demucs"]
Layout = Literal["songs", "stems", "csv"]


class ExportModelParameters(Options):
    """Which model to export, as what, and where to."""

    workspace: str = Field("workspace", description="Workspace that holds the model.")
    model: str = Field(
        "", description="Model of the workspace, or a model's folder; empty takes the only one."
    )
    output: str = Field("exported", description="Folder to write; it must not exist.")
    formats: list[Format] = Field(
        ["safetensors"],
        description="safetensors: weights, configuration and model card, always written; onnx: a "
        "network of one length, compared with the original; demucs: what `demucs --repo` loads.",
    )
    segment_s: float = Field(
        10.0,
        gt=0,
        description="Length of the pieces that the ONNX network takes, and official demucs makes, "
        "where the model does not say.",
    )
    allow_import: AllowImport = Field([])


class ExportDataParameters(Options):
    """Which data to export, how laid out, and where to."""

    workspace: str = Field("workspace", description="Workspace that holds the data.")
    labelled: CorpusName = Field("labelled", description="Corpus of labelled songs.")
    libraries: Libraries = Field([])
    corpora: list[str] = Field(["music"], description="Corpora whose remixes are exported.")
    output: str = Field("exported-data", description="Folder to write; it must not exist.")
    layout: Layout = Field(
        "songs",
        description="songs: a folder a song or remix, with a file a stem (types 1 and 4 of "
        "Music-Source-Separation-Training); stems: a folder a stem (type 2); csv: the same with a "
        "list of files (type 3).",
    )
    target: str = Field(
        "",
        description="Source to separate from the rest: remixes know it, and the rest as a sum. "
        "Empty exports all sources, and of remixes those in which at most one source sounds.",
    )
    rest: str = Field("other", description="What the sum of the others is called with a target.")
    max_remixes: int = Field(1000, ge=0, description="Remixes to export at most.")
