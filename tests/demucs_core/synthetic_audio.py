"""Audio for the tests of examples and training, from paths that describe it."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from demucs_core.stem_tracks import StemTrack


class SyntheticReader:
    """Reads ``name:num_samples`` as noise that name and place decide, with zeros past the end.

    With ``ramp``, the value is the place in the file instead, 1 for the first sample.
    """

    def __init__(self, *, ramp: bool = False) -> None:
        self.ramp = ramp

    def __call__(self, path: str, start_sample: int, num_samples: int) -> NDArray[np.float32]:
        assert start_sample >= 0
        assert num_samples >= 0
        name, length = path.split(":")
        audio = np.zeros((2, start_sample + num_samples), dtype=np.float32)
        num_real = min(int(length), audio.shape[1])
        if self.ramp:
            audio[:, :num_real] = np.arange(1, num_real + 1)
            audio[1] *= -3
        else:
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            audio[:, :num_real] = 0.1 * rng.standard_normal((int(length), 2)).T[:, :num_real]
        return audio[:, start_sample:]


def stem_track(name: str, num_samples: int, num_sources: int = 4) -> StemTrack:
    paths = tuple(f"{name}{source}:{num_samples}" for source in range(num_sources))
    return StemTrack(track_id=name, num_samples=num_samples, paths=paths)
