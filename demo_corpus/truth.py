"""The truth about a corpus: how loud each source really is, frame by frame.

Levels are RMS over both channels, in dB re full scale, on frames of ``HOP_SAMPLES`` samples unless
told otherwise: frame i covers samples [i * hop, (i + 1) * hop), a last partial frame included and
taken over the samples it has. Digital silence has ``FLOOR_DB``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from demo_corpus.files import appear

HOP_SAMPLES = 4_096
FLOOR_DB = -120.0

_FIELDS: dict[str, pa.DataType] = {
    "path": pa.string(),
    "source": pa.string(),
    "hop_samples": pa.int32(),
    "level_db": pa.list_(pa.float32()),
    "mixture_level_db": pa.list_(pa.float32()),
}
SCHEMA = pa.schema(_FIELDS)


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Frame levels of one song: ``sources`` (S, F) in the split's order, ``mixture`` (F,)."""

    sources: npt.NDArray[np.float32]
    mixture: npt.NDArray[np.float32]


def measure(
    stems: npt.NDArray[np.int16], *, num_channels: int = 2, hop_samples: int = HOP_SAMPLES
) -> Levels:
    """Levels of stems (S, 2, T); with one channel, of the stems' mono downmixes."""
    audio = stems.astype(np.float32) / np.float32(32_768)
    if num_channels == 1:
        audio = audio.mean(axis=1, keepdims=True)
    return Levels(
        sources=np.stack([frame_levels(stem, hop_samples) for stem in audio]),
        mixture=frame_levels(audio.sum(axis=0), hop_samples),
    )


def frame_levels(
    audio: npt.NDArray[np.float32], hop_samples: int = HOP_SAMPLES
) -> npt.NDArray[np.float32]:
    """RMS levels (F,) of the frames of audio (C, T)."""
    num_channels, num_samples = audio.shape
    whole = num_samples // hop_samples
    frames = audio[:, : whole * hop_samples].reshape(num_channels, whole, hop_samples)
    power = np.einsum("cfh,cfh->f", frames, frames) / (num_channels * hop_samples)
    rest = audio[:, whole * hop_samples :]
    if rest.size:
        power = np.append(power, np.mean(np.square(rest)))
    lowest = 10 ** (FLOOR_DB / 10)
    return np.asarray(10 * np.log10(np.maximum(power, lowest)), dtype=np.float32)


def write_truth(
    path: Path, songs: Iterable[tuple[str, Levels]], sources: Sequence[str], hop_samples: int
) -> None:
    """Write (relative path, levels) of songs as one Parquet file, a row a song and source."""
    rows = [
        {
            "path": name,
            "source": source,
            "hop_samples": hop_samples,
            "level_db": levels.sources[index],
            "mixture_level_db": levels.mixture,
        }
        for name, levels in songs
        for index, source in enumerate(sources)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    appear(path, lambda temporary: pq.write_table(table, temporary))
