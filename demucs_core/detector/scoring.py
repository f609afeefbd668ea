"""Scores of a track of any length: overlapping chunks, stitched, equal to those of one piece.

Shapes: B batch, C channels, n samples of a chunk, S sources, F frames of the track.

Every chunk begins and ends with a block of the detector (``block_frames``), and carries, on each
side where the track goes on, as many frames as the detector can hear (``context_frames``); their
scores are thrown away. What is left depends on the same samples as it would in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.detector.config import DetectorConfig
from demucs_core.detector.recurrence import BLOCK_FRAMES

DEFAULT_CHUNK_FRAMES = 8 * BLOCK_FRAMES
"""Frames scored at a time: a minute and a half. Shorter chunks are mostly context, longer ones
little faster. Of chunks that are no multiple of the recurrent net's block, more is thrown away."""


class FrameScorer(Protocol):
    """What scores audio frame by frame with a finite receptive field."""

    @property
    def config(self) -> DetectorConfig:
        """Its configuration: sources and time grid."""

    @property
    def block_frames(self) -> int:
        """Frames, from the first it is given, that it scores as one."""

    @property
    def context_frames(self) -> int:
        """Frames on each side of a block that its scores can depend on."""

    def __call__(self, audio: Tensor, /) -> Tensor:
        """Audio ``(B, C, T)`` to log-odds of silence ``(B, S, F)``."""


@dataclass(frozen=True)
class _Chunk:
    start_frame: int
    stop_frame: int
    read_start: int
    read_stop: int
    hop_samples: int

    @property
    def num_samples(self) -> int:
        return self.read_stop - self.read_start

    @property
    def skip_frames(self) -> int:
        return self.start_frame - self.read_start // self.hop_samples


def score_chunks(
    detector: FrameScorer,
    read: Callable[[int, int], NDArray[np.float32]],
    num_samples: int,
    *,
    chunk_frames: int = DEFAULT_CHUNK_FRAMES,
    batch_size: int = 1,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Probability that each source is silent in each frame of a track: ``(S, F)`` float32.

    The result is the same for any ``chunk_frames`` and ``batch_size``, within rounding.

    Args:
        detector: in evaluation mode, on ``device``.
        read: takes a first sample and a number of samples and gives audio ``(C, n)``; asked for
            stretches in order, each once. Memory holds one batch of them.
        num_samples: length of the track.
        chunk_frames: frames scored at a time.
        batch_size: chunks scored together. Where they do not fit in the memory of the device,
            their number is halved, and kept for the rest of the track.
        device: where to score.

    Raises:
        ValueError: an empty track, or ``read`` gives another number of samples than it was asked
            for.
    """
    if num_samples < 1:
        raise ValueError(f"the track has {num_samples} samples: there is nothing to score")
    if chunk_frames < 1:
        raise ValueError(f"chunk_frames must be at least 1, not {chunk_frames}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    num_frames = -(-num_samples // detector.config.hop_samples)
    scores = np.empty((len(detector.config.sources), num_frames), dtype=np.float32)
    chunks = list(_plan(num_samples, chunk_frames, detector))
    position = 0
    while position < len(chunks):
        batch = _same_length(chunks[position : position + batch_size])
        audio = np.stack([_read_exactly(read, chunk) for chunk in batch])
        position += len(batch)
        done = 0
        while done < len(batch):
            part = batch[done : done + batch_size]
            try:
                probability = _probabilities(detector, audio[done : done + batch_size], device)
            except torch.cuda.OutOfMemoryError:
                if batch_size == 1 or len(part) == 1:
                    raise
                batch_size = len(part) // 2
                torch.cuda.empty_cache()
                continue
            for row, chunk in zip(probability, part, strict=True):
                length = chunk.stop_frame - chunk.start_frame
                kept = row[:, chunk.skip_frames : chunk.skip_frames + length]
                scores[:, chunk.start_frame : chunk.stop_frame] = kept
            done += len(part)
    return scores


def _plan(num_samples: int, chunk_frames: int, detector: FrameScorer) -> Iterator[_Chunk]:
    hop, block = detector.config.hop_samples, detector.block_frames
    num_frames = -(-num_samples // hop)
    for start in range(0, num_frames, chunk_frames):
        stop = min(start + chunk_frames, num_frames)
        first_heard = start // block * block - detector.context_frames
        last_heard = -(-stop // block) * block + detector.context_frames
        yield _Chunk(
            start_frame=start,
            stop_frame=stop,
            read_start=max(first_heard // block * block, 0) * hop,
            read_stop=min(last_heard * hop, num_samples),
            hop_samples=hop,
        )


def _same_length(chunks: list[_Chunk]) -> list[_Chunk]:
    length = chunks[0].num_samples
    same = [chunk.num_samples == length for chunk in chunks]
    return chunks[: same.index(False)] if False in same else chunks


def _read_exactly(
    read: Callable[[int, int], NDArray[np.float32]], chunk: _Chunk
) -> NDArray[np.float32]:
    audio = read(chunk.read_start, chunk.num_samples)
    if audio.ndim != 2 or audio.shape[1] != chunk.num_samples:
        raise ValueError(
            f"asked for {chunk.num_samples} samples from sample {chunk.read_start}, "
            f"the reader gave shape {audio.shape}: the audio is shorter than declared"
        )
    return audio


def _probabilities(
    detector: FrameScorer, audio: NDArray[np.float32], device: str | torch.device
) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits = detector(torch.from_numpy(audio).to(device))
        probability: NDArray[np.float32] = torch.sigmoid(logits.float()).cpu().numpy()
    return probability
