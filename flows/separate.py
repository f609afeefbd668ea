"""A trained model on any audio file → one file a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from fsspec.core import url_to_fs
from numpy.typing import NDArray
from pydantic import Field
from rich.progress import track

from demucs_core import SAMPLE_RATE, SOURCES
from demucs_core.separation import separate_stream
from flows import registry
from flows.configuration import UserError
from flows.parameters import Device, Options
from storage.canonical import PreparedAudio, Unusable, prepare
from storage.workspace import Workspace


class SeparateParameters(Options):
    """Which files to separate, with which model."""

    files: list[str] = Field(min_length=1, description="Audio files in any format.")
    workspace: str = Field("workspace", description="Workspace that holds the model.")
    model: str = Field("", description="Model to use; empty takes the only one there is.")
    output: str = Field("separated", description="Folder for the stems; one folder a file in it.")
    segment_s: float = Field(10.0, gt=0, description="Length of the pieces a file is separated in.")
    overlap: float = Field(0.25, ge=0, lt=1, description="Share of a piece that two pieces share.")
    shifts: int = Field(0, ge=0, le=100, description="Random shifts to average over.")
    device: Device = Field("auto", description="cpu, cuda, cuda:1, or auto: a GPU if there is one.")


def separate_files(parameters: SeparateParameters) -> Iterator[str]:
    """Separate each file, and yield the paths of the stems as they are done.

    Memory does not grow with the length of a file. A stem appears once it is whole.

    Raises:
        UserError: a file can't be decoded, or there is no such model.
    """
    workspace = Workspace(parameters.workspace)
    model = registry.resolve(workspace, "models", parameters.model)
    for file in parameters.files:
        fs, path = url_to_fs(file)
        folder = Path(parameters.output) / Path(path).stem
        try:
            with prepare(fs, path, sample_rate=SAMPLE_RATE, min_duration_s=0.0) as audio:
                yield from _separate(parameters, workspace, model, audio, folder)
        except Unusable as problem:
            raise UserError(f"{file}: {problem.reason}: {problem.detail}") from problem


def _separate(
    parameters: SeparateParameters,
    workspace: Workspace,
    model: str,
    audio: PreparedAudio,
    folder: Path,
) -> Iterator[str]:
    device = registry.pick_device(parameters.device)
    blocks = separate_stream(
        registry.load_model(workspace, model, device),
        audio.read,
        audio.num_samples,
        segment_samples=round(parameters.segment_s * SAMPLE_RATE),
        overlap=parameters.overlap,
        shifts=parameters.shifts,
        device=device,
    )
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{source}.wav" for source in SOURCES]
    unfinished = [target.with_name(f".{target.name}.part") for target in targets]
    writers = [
        soundfile.SoundFile(name, "w", SAMPLE_RATE, channels=2, format="WAV", subtype="PCM_16")
        for name in unfinished
    ]
    # the file came in at this gain, if its peaks were above full scale
    level = np.float32(10 ** (-audio.gain_db / 20))
    try:
        for block in track(
            blocks, description=folder.name, total=_num_blocks(parameters, audio.num_samples)
        ):
            for writer, stem in zip(writers, block, strict=True):
                writer.write(np.clip(_frames(stem) * level, -1.0, 1.0))
    finally:
        for writer in writers:
            writer.close()
    for name, target in zip(unfinished, targets, strict=True):
        name.replace(target)
        yield str(target)


def _frames(stem: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(stem.T)


def _num_blocks(parameters: SeparateParameters, num_samples: int) -> int:
    stride = max(1, int((1 - parameters.overlap) * round(parameters.segment_s * SAMPLE_RATE)))
    return -(-num_samples // stride)
