"""Separate music of any length with a model: overlapping segments, crossfaded, in bounded memory.

Shape legend: S sources, C audio channels, T samples of the whole mixture, N samples of a block, K
segments that run at once.

:func:`separate` computes what the official ``demucs.apply.apply_model`` computes, sample for
sample: triangular weights, real audio as context where a model wants more than a segment, random
shifts of up to half a second (arXiv 1909.01174, section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from demucs_core.separators.inference import estimate
from demucs_core.separators.separator import SeparationModel

ReadMixture = Callable[[int, int], NDArray[np.float32]]
"""``read(start_sample, num_samples)`` gives ``(C, num_samples)``; asked for existing audio only."""


def separate(
    model: nn.Module,
    mixture: Tensor,
    *,
    segment_samples: int,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    max_shift_samples: int,
    batch_size: int = 4,
    device: torch.device | str | None = None,
) -> Tensor:
    """Estimate the sources of a mixture held in memory: ``(C, T)`` to ``(S, C, T)`` on the CPU.

    The arguments are those of :func:`separate_stream`.
    """
    audio = mixture.detach().to("cpu", torch.float32).numpy()
    blocks = separate_stream(
        model,
        lambda start, num: audio[:, start : start + num],
        audio.shape[-1],
        segment_samples=segment_samples,
        overlap=overlap,
        shifts=shifts,
        seed=seed,
        max_shift_samples=max_shift_samples,
        batch_size=batch_size,
        device=device,
    )
    return torch.from_numpy(np.concatenate(list(blocks), axis=-1))


def separate_stream(
    model: nn.Module,
    read: ReadMixture,
    num_samples: int,
    *,
    segment_samples: int,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    max_shift_samples: int,
    batch_size: int = 4,
    device: torch.device | str | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Estimate the sources of a mixture piece by piece, in memory independent of its length.

    Args:
        model: maps ``(K, C, T)`` to ``(K, S, C, T)``; put into evaluation mode while the iterator
            lasts. If it has ``valid_length``, it is given segments of such lengths.
        read: reads the mixture.
        num_samples: length of the mixture.
        segment_samples: length of a segment. Longer ones need more memory. A model that has a
            ``longest_segment`` gets no longer ones.
        overlap: share of a segment that the next one covers too, at least 0 and less than 1.
        shifts: number of random shifts to average over; 0 runs once, unshifted.
        seed: decides the shifts.
        max_shift_samples: largest shift; half a second in the paper.
        batch_size: segments that run at once.
        device: moves the model there first; without it, the model runs where it is.

    Returns:
        An iterator over consecutive blocks ``(S, C, N)`` that together have ``num_samples``.

    Raises:
        ValueError: an empty mixture, or an argument out of range, by name; at the call, before
            anything is read.
    """
    passes = separate_passes(
        model,
        read,
        num_samples,
        segment_samples=segment_samples,
        overlap=overlap,
        shifts=shifts,
        seed=seed,
        max_shift_samples=max_shift_samples,
        batch_size=batch_size,
        device=device,
    )
    return (
        blocks[0] if len(blocks) == 1 else torch.from_numpy(blocks).mean(dim=0).numpy()
        for blocks in passes
    )


def separate_passes(
    model: nn.Module,
    read: ReadMixture,
    num_samples: int,
    *,
    segment_samples: int,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    max_shift_samples: int,
    batch_size: int = 4,
    device: torch.device | str | None = None,
) -> Iterator[NDArray[np.float32]]:
    """As :func:`separate_stream`, each shift by itself: blocks ``(P, S, C, N)`` of P passes.

    How far they are apart tells how sure the model is: to a right answer it makes no difference
    where a piece begins.
    """
    if num_samples < 1:
        raise ValueError("the mixture is empty: there is nothing to separate")
    if segment_samples < 1:
        raise ValueError(f"segment_samples must be at least 1, not {segment_samples}")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be at least 0 and below 1, not {overlap}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    if shifts < 0 or max_shift_samples < 0:
        raise ValueError(
            f"shifts and max_shift_samples must be at least 0, not {shifts} and {max_shift_samples}"
        )
    if device is not None:
        model.to(device)
    if isinstance(model, SeparationModel) and (longest := model.longest_segment()) is not None:
        segment_samples = min(segment_samples, max(1, longest))
    job = _Job(
        model=model,
        read=read,
        num_samples=num_samples,
        segment_samples=segment_samples,
        stride_samples=max(1, int((1 - overlap) * segment_samples)),
        batch_size=batch_size,
    )
    rng = np.random.default_rng(seed)
    leads = rng.integers(0, max_shift_samples + 1, size=shifts).tolist() if shifts else [0]
    return _side_by_side([_overlap_add(job, lead) for lead in leads], model)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What stays the same over the segments and shifts of one separation."""

    model: nn.Module
    read: ReadMixture
    num_samples: int
    segment_samples: int
    stride_samples: int
    batch_size: int

    def read_padded(self, start: int, num: int) -> NDArray[np.float32]:
        """Read ``(C, num)`` from ``start``, with zeros before and after the mixture."""
        # At least one sample is read, so that a stretch of nothing has its channels too.
        first = min(max(start, 0), self.num_samples - 1)
        last = max(min(start + num, self.num_samples), first + 1)
        audio = self.read(first, last - first)
        if audio.ndim != 2 or audio.shape[1] != last - first:
            raise ValueError(
                f"reading {last - first} samples from {first} gave an array of shape {audio.shape}"
            )
        padded = np.zeros((audio.shape[0], num), dtype=np.float32)
        if start < self.num_samples and start + num > 0:
            padded[:, first - start : last - start] = audio
        return padded

    def estimate(self, starts: list[int], num: int) -> Tensor:
        """Run the model on the stretches of ``num`` samples at ``starts``: ``(K, S, C, num)``."""
        valid_length = getattr(self.model, "valid_length", None)
        wanted = num if valid_length is None else int(valid_length(num))
        before = (wanted - num) // 2
        mixtures = torch.from_numpy(
            np.stack([self.read_padded(start - before, wanted) for start in starts])
        )
        parameter = next(self.model.parameters(), None)
        device = mixtures.device if parameter is None else parameter.device
        with torch.inference_mode():
            estimates = estimate(self.model, mixtures.to(device))
        return estimates[..., before : before + num].to("cpu", torch.float32)


def _overlap_add(job: _Job, lead: int) -> Iterator[Tensor]:
    """Yield finished blocks ``(S, C, N)`` of the mixture, run with ``lead`` zeros before it.

    Segment k starts ``k * stride - lead`` samples into the mixture. Once a segment is added, no
    later one touches its first stride.
    """
    segment, stride = job.segment_samples, job.stride_samples
    total = job.num_samples + lead
    half = segment // 2
    ramps = [torch.arange(1, half + 1), torch.arange(segment - half, 0, -1)]
    weights = torch.cat(ramps).to(torch.float32)
    weights /= weights.max()
    # What earlier segments already gave to the samples where the next one starts.
    tail: Tensor | None = None
    weight_tail = torch.zeros(0)
    for offsets in _batches(range(0, total, stride), total, segment, job.batch_size):
        num = min(segment, total - offsets[0])
        estimates = job.estimate([offset - lead for offset in offsets], num)
        for offset, sources in zip(offsets, estimates, strict=True):
            estimate_sum, weight_sum = sources * weights[:num], weights[:num].clone()
            if tail is not None:
                estimate_sum[..., : tail.shape[-1]] += tail
                weight_sum[: len(weight_tail)] += weight_tail
            tail, weight_tail = estimate_sum[..., stride:], weight_sum[stride:]
            skipped = max(0, lead - offset)
            block = estimate_sum[..., skipped:stride] / weight_sum[skipped:stride]
            if block.shape[-1]:
                yield block
        del estimates, sources, estimate_sum, block  # not to be kept beside the next ones


def _batches(offsets: range, total: int, segment: int, batch_size: int) -> Iterator[list[int]]:
    """Group consecutive segments of one length; those that the end cuts short go alone."""
    batch: list[int] = []
    for offset in offsets:
        if batch and (len(batch) == batch_size or offset + segment > total):
            yield batch
            batch = []
        batch.append(offset)
    yield batch


def _side_by_side(runs: list[Iterator[Tensor]], model: nn.Module) -> Iterator[NDArray[np.float32]]:
    """Cut runs whose blocks end at different places alike, as far as all of them have come."""
    was_training = model.training
    try:
        pending: list[Tensor | None] = [None] * len(runs)
        while True:
            model.eval()
            for index, run in enumerate(runs):
                if pending[index] is None:
                    pending[index] = next(run, None)
            blocks = [block for block in pending if block is not None]
            if not blocks:
                return
            # All runs have the same samples in all, so they end together.
            assert len(blocks) == len(runs)
            num = min(block.shape[-1] for block in blocks)
            cut = blocks[0][None, ..., :num]
            if len(blocks) > 1:
                cut = torch.stack([block[..., :num] for block in blocks])
            pending = [block[..., num:] if block.shape[-1] > num else None for block in blocks]
            yield cut.numpy()
    finally:
        model.train(was_training)
