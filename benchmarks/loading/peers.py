"""The datasets that people train from: official demucs' ``Wavset``, and open-unmix's of folders.

Both read with torchaudio, which since 2.9 has neither ``info`` nor a backend of its own. They get
here what its former soundfile backend did, so that they run at all, and as they did then.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import numpy as np
import soundfile
import torch
import torchaudio

from storage.decoding.ffmpeg import put_ffmpeg_on_path


class Dataset(Protocol):
    """Examples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


def load(path: str, frame_offset: int = 0, num_frames: int = -1) -> tuple[torch.Tensor, int]:
    """As ``torchaudio.load`` did by soundfile."""
    audio, rate = soundfile.read(
        path, start=frame_offset, frames=num_frames, dtype="float32", always_2d=True
    )
    return torch.from_numpy(np.ascontiguousarray(audio.T)), rate


def info(path: str) -> SimpleNamespace:
    """As ``torchaudio.info`` did by soundfile."""
    found = soundfile.info(path)
    return SimpleNamespace(
        sample_rate=found.samplerate, num_frames=found.frames, num_channels=found.channels
    )


def give_torchaudio_its_backend() -> None:
    """Put the functions of before 2.9 in place, in this process."""
    torchaudio.load = load
    torchaudio.info = info
    torchaudio.get_audio_backend = lambda: "soundfile"


def wavset(root: Path, sources: list[str], crop_s: float) -> Dataset:
    """Official demucs': crops of all sources on a grid of a second, as its configuration has it."""
    put_ffmpeg_on_path()  # musdb, which it imports, asks for it
    # For several machines alone, and wants a launcher that nothing else here needs.
    sys.modules.setdefault("demucs.distrib", ModuleType("demucs.distrib"))
    from demucs.wav import Wavset

    metadata = {
        song.name: {"length": info(f"{song}/{sources[0]}.wav").num_frames, "samplerate": 44_100}
        for song in sorted(root.iterdir())
    }
    dataset: Dataset = Wavset(
        root, metadata, sources, segment=crop_s, shift=1.0, normalize=False, samplerate=44_100
    )
    return dataset


def folders(root: Path, sources: list[str], crop_s: float) -> Dataset:
    """Open-unmix's of a folder a song: a random crop of all sources, and their sum."""
    from openunmix.data import FixedSourcesTrackFolderDataset

    target, *others = (f"{source}.wav" for source in sources)
    dataset: Dataset = FixedSourcesTrackFolderDataset(
        str(root.parent), root.name, target, others, seq_duration=crop_s, random_chunks=True
    )
    return dataset
