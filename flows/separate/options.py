"""What ``separate`` is told."""

from __future__ import annotations

from pydantic import Field

from flows.running.allowed import AllowImport
from flows.running.parameters import Device, Options
from flows.separate.full_scale import Clip
from storage.encode import Format


class SeparateParameters(Options):
    """With which model to separate, how, and what to write."""

    workspace: str = Field("workspace", description="Workspace that holds the model.")
    model: str = Field(
        "",
        description="Model of the workspace, or any folder with config.json and "
        "weights.safetensors, which needs no workspace; empty takes the only one there is, or of "
        "several the one that was named `default`.",
    )
    output: str = Field(
        "separated",
        description="Folder for the stems; a folder a file in it. What was separated alike is "
        "skipped, and other stems that are there are left alone.",
    )
    overwrite: bool = Field(False, description="Replace stems that are there.")
    format: Format = Field("wav", description="Of the stems. MP3 has 320 kbit/s.")
    bits: int = Field(
        16,
        description="Bits a sample: 16 or 24, and of WAV also 32, which are floating point and "
        "never limited to full scale.",
    )
    clip: Clip = Field(
        "clamp",
        description="Where a stem goes beyond full scale: cut it off there, or make all stems of "
        "the file quieter alike. Of 32 bits, nothing has to be.",
    )
    only: list[str] = Field(
        [],
        description="Write these sources alone; empty writes all. open_unmix "
        "without a Wiener filter (niter 0) computes no others; any other model computes all.",
    )
    two_stems: str = Field(
        "", description="Write this source, and the sum of the others as no_SOURCE."
    )
    add_up: bool = Field(
        False,
        description="Make the stems add up to the file: what they lack of it goes to those that "
        "are loud at the time.",
    )
    segment_s: float = Field(10.0, gt=0, description="Length of the pieces a file is separated in.")
    overlap: float = Field(0.25, ge=0, lt=1, description="Share of a piece that two pieces share.")
    shifts: int = Field(
        0, ge=0, le=100, description="Random shifts to average over: slower by as much, and better."
    )
    seed: int = Field(0, ge=0, description="Decides the shifts.")
    report: bool = Field(
        True,
        description="Write what came of the files, with players of the first ten, to the reports "
        "of the workspace that holds the model; a model from elsewhere has none.",
    )
    device: Device = Field("auto", description="auto takes a GPU if there is one.")
    allow_import: AllowImport = Field([])
