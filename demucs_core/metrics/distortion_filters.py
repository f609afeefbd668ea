"""The distortion filters of BSSEval v4: least squares on delayed copies of the references.

Shape legend: S sources, C channels, T samples, K = S * C reference channels (and as many of the
estimates), L taps of a filter.

An estimate is projected on the references delayed by 0 to L - 1 samples (Vincent, Gribonval and
Févotte, IEEE TASLP 14(4), 2006, section III-B). The normal equations of that projection hold
nothing but correlations at short lags, so these are accumulated over short blocks in one pass over
the track, and one Cholesky factor of the block-Toeplitz system serves every estimate.

Where the references nearly depend on each other (a source twice, a band that a lossy codec left
empty), the equations no longer determine the filters along some directions. What the references
hold there is as faint, so most projections do not depend on it; those that do, do so in museval
too, and are what its own rounding makes of them. To tell one from the other, ``solve_filters`` is
asked twice, without a ridge and with one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from demucs_core.metrics.ordered_threads import map_in_order

BlockReader = Callable[[int, int], "Tensor | NDArray[Any]"]
"""Reads samples [start, stop) of all sources: ``(S, C, stop - start)``, 0 <= start < stop <= T."""

FloatArray = NDArray[np.float64]

BLOCK_SAMPLES = 8192
BLOCKS_A_CHUNK = 8
NUM_PROBES = 4

SMALLEST_RIDGE = 1e-15
"""Of systems with ones in the diagonal: about what float64 rounds away of them."""

NUM_REFINEMENTS = 3
"""Each leaves of a ridge's effect its ratio to what the references hold along a direction."""

KINDS = ("reference", "estimate")


@dataclass(frozen=True, kw_only=True)
class Correlations:
    """What one pass over a track leaves of it.

    Attributes:
        lags: ``(K, 2K, L)``: sum over n of ``reference[a, n - lag] * signal[b, n]``, where the
            signals are the reference channels, then the estimates' channels.
        determined: ``(K,)`` of bool: false for reference channels that are silent or that repeat an
            earlier channel of their source, and so add nothing to the projection.
    """

    lags: Tensor
    determined: Tensor


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Distortion filters of all estimates, float64.

    Attributes:
        joint: ``(K, L, K)``: from every reference channel to every channel of every estimate.
        own: ``(S, C, L, C)``: from the channels of a source to those of its own estimate alone.
    """

    joint: Tensor
    own: Tensor


def as_tensor(samples: Tensor | NDArray[Any]) -> Tensor:
    """Take what a reader gave as a tensor, without a copy where there need be none."""
    if isinstance(samples, Tensor):
        return samples.detach()
    if not samples.flags.writeable or any(stride < 0 for stride in samples.strides):
        samples = samples.copy()
    return torch.from_numpy(samples)


def silent_sources(samples: Tensor) -> Tensor:
    """Tell which sources museval takes as silent: ``(..., S, C, T)`` to ``(..., S)`` of bool.

    Silent means that the *sum* of the channels is exactly zero throughout, so a source whose
    channels are in exact antiphase counts as silent, as it does in museval.
    """
    return (samples.sum(-2) == 0).all(-1)


def read_padded(read: BlockReader, start: int, stop: int, lowest: int, highest: int) -> Tensor:
    """Read samples [start, stop), with zeros outside [lowest, highest), where they overlap."""
    inside = as_tensor(read(max(start, lowest), min(stop, highest)))
    return functional.pad(inside, (max(lowest - start, 0), max(stop - highest, 0)))


def correlate(
    read_references: BlockReader,
    read_estimates: BlockReader,
    num_samples: int,
    filter_samples: int,
    device: torch.device,
) -> Correlations:
    """Accumulate the correlations of a track at lags 0 to L - 1 over short FFT blocks.

    Each block of ``n`` samples meets the references' same block and the L - 1 samples before it,
    so that every product of the track is counted once. Always float64; memory does not depend on
    the length of the track.

    Raises:
        ValueError: a source that is silent throughout, or that holds NaN or infinite samples; the
            message names which, and whether it is a reference or an estimate.
    """
    past = filter_samples - 1
    fft_samples = max(BLOCK_SAMPLES, 1 << (4 * filter_samples - 1).bit_length())
    block = fft_samples - past
    chunk = block * BLOCKS_A_CHUNK
    sources, channels, _ = read_references(0, 1).shape
    num_rows = sources * channels
    spectrum = torch.zeros(
        (fft_samples // 2 + 1, num_rows, 2 * num_rows), dtype=torch.complex128, device=device
    )
    degenerate = _Degenerate(sources, channels)

    def chunks() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, num_samples, chunk):
            stop = start + min(chunk, -(-(num_samples - start) // block) * block)
            references = read_padded(read_references, start - past, stop, 0, num_samples)
            estimates = read_padded(read_estimates, start, stop, 0, num_samples)
            degenerate.look_at(references, estimates)
            yield references, estimates

    def cross_spectrum(audio: tuple[Tensor, Tensor]) -> Tensor:
        references, estimates = (each.to(device, torch.float64).flatten(0, 1) for each in audio)
        now = estimates.new_zeros((2 * num_rows, estimates.shape[-1] // block, fft_samples))
        now[:num_rows, :, :block] = references[:, past:].unflatten(-1, (-1, block))
        now[num_rows:, :, :block] = estimates.unflatten(-1, (-1, block))
        # Contiguous, since the batched product would otherwise copy each small matrix by itself.
        before = torch.fft.rfft(references.unfold(-1, fft_samples, block)).permute(2, 0, 1)
        after = torch.fft.rfft(now).permute(2, 1, 0).contiguous()
        return torch.bmm(before.contiguous(), after.conj_physical_())

    for each in map_in_order(cross_spectrum, chunks(), device):
        spectrum += each
    lags = torch.fft.irfft(spectrum.permute(1, 2, 0), n=fft_samples)[..., :filter_samples].flip(-1)
    _require_finite(lags, channels)
    degenerate.require_sound()
    return Correlations(lags=lags, determined=degenerate.determined().to(device))


class _Degenerate:
    """Looks for sources and channels that hold nothing, or nothing of their own, as they pass."""

    def __init__(self, sources: int, channels: int) -> None:
        self.silent = {kind: torch.ones(sources, dtype=torch.bool) for kind in KINDS}
        self.empty = torch.ones((sources, channels), dtype=torch.bool)
        self.repeats = torch.ones((sources, channels, channels), dtype=torch.bool).tril(-1)

    def look_at(self, references: Tensor, estimates: Tensor) -> None:
        # Nearly always settled by the first notes: then there is nothing left to look at.
        for kind, samples in zip(KINDS, (references, estimates), strict=True):
            if self.silent[kind].any():
                self.silent[kind] &= silent_sources(samples).cpu()
        if self.empty.any():
            self.empty &= (references == 0).all(-1).cpu()
        for later, earlier in self.repeats.any(0).nonzero().tolist():
            same = (references[:, later] == references[:, earlier]).all(-1)
            self.repeats[:, later, earlier] &= same.cpu()

    def require_sound(self) -> None:
        for kind in KINDS:
            for source in self.silent[kind].nonzero().flatten().tolist():
                raise ValueError(
                    f"{kind} {source} is silent throughout (its channels sum to zero): BSSEval is "
                    "not defined for it; leave the source out"
                )

    def determined(self) -> Tensor:
        return ~(self.empty | self.repeats.any(-1)).flatten()


def _require_finite(lags: Tensor, channels: int) -> None:
    """Raise ``ValueError`` if any signal held NaN or infinite samples: correlations keep them."""
    num_rows = len(lags)
    # A reference shows in its correlation with itself; the estimates in those with sound ones.
    for kind, own in zip(KINDS, (lags.diagonal().T, lags[0, num_rows:]), strict=True):
        for row in (~own.isfinite().all(-1)).nonzero().flatten().tolist():
            raise ValueError(f"{kind} {row // channels} holds NaN or infinite samples")


def block_toeplitz(lags: Tensor) -> Tensor:
    """Build the ``(K * L, K * L)`` system from the references' correlations ``(K, K, L)``."""
    num_rows, _, taps = lags.shape
    # From lag L - 1 down to -(L - 1): row t of a block is the stretch that starts at L - 1 - t.
    falling = torch.cat([lags.flip(-1), lags.transpose(0, 1)[..., 1:]], dim=-1)
    system = lags.new_empty((num_rows, taps, num_rows, taps))
    for row, stretch in zip(system, falling, strict=True):
        row.copy_(stretch.unfold(-1, taps, 1).flip(1).transpose(0, 1))
    return system.reshape(num_rows * taps, num_rows * taps)


def solve_filters(
    correlations: Correlations, num_channels: int, ridge: float = 0.0
) -> tuple[Filters, float]:
    """Solve for all filters with one factor of the joint system and one of each source's own.

    Args:
        correlations: of the track.
        num_channels: of a source.
        ridge: least that is added to the diagonals, of channels scaled to the same energy, before
            the factors are made. Refinement then takes its effect out again wherever the references
            hold more than it.

    Returns:
        The filters and an estimate of the condition number of the joint system, its channels
        scaled to the same energy; ``inf`` where it is not positive definite in float64 and so
        needed a larger ridge.
    """
    lags, kept = correlations.lags, correlations.determined
    num_rows, _, taps = lags.shape
    sources = num_rows // num_channels
    joint = torch.zeros((num_rows, taps, num_rows), dtype=lags.dtype, device=lags.device)
    own = joint.new_zeros((sources, num_channels, taps, num_channels))
    targets = lags[:, num_rows:].transpose(1, 2)
    joint[kept], condition = _solve(lags[kept][:, :num_rows][:, kept], targets[kept], ridge)
    for source in range(sources):
        rows = slice(source * num_channels, (source + 1) * num_channels)
        mine = kept[rows]
        own[source, mine], _ = _solve(
            lags[rows, rows][mine][:, mine], targets[rows, :, rows][mine], ridge
        )
    return Filters(joint=joint, own=own), condition


def _solve(lags: Tensor, targets: Tensor, ridge: float) -> tuple[Tensor, float]:
    """Solve one system, lags ``(K, K, L)``, targets ``(K, L, N)``; with its condition number."""
    num_rows, taps, num_targets = targets.shape
    energy = lags[:, :, 0].diagonal()
    scale = energy.rsqrt()
    system = block_toeplitz(lags * scale[:, None, None] * scale[None, :, None])
    # museval's tiny ridge: it decides only where the references are as tiny.
    system.diagonal().add_((torch.finfo(torch.float64).eps / energy).repeat_interleave(taps))
    factor, needed = _factor(system, ridge)
    scaled = (targets * scale[:, None, None]).reshape(num_rows * taps, num_targets)
    # Random vectors travel along: two solves of them show the smallest eigenvalue well enough.
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn((len(scaled), NUM_PROBES), generator=generator, dtype=scaled.dtype)
    probes = probes.to(scaled.device)
    solution, once = torch.cholesky_solve(torch.cat([scaled, probes], dim=1), factor).split(
        [num_targets, NUM_PROBES], dim=1
    )
    for _ in range(NUM_REFINEMENTS if needed else 0):
        solution = solution + torch.cholesky_solve(scaled - system @ solution, factor)
    twice = torch.cholesky_solve(once, factor)
    for _ in range(4):
        probes = system @ (probes / probes.norm(dim=0))
    condition = probes.norm(dim=0).max() * (twice.norm(dim=0) / once.norm(dim=0)).max()
    return (
        solution.reshape(targets.shape) * scale[:, None, None],
        float("inf") if needed > ridge else float(condition),
    )


def _factor(system: Tensor, ridge: float) -> tuple[Tensor, float]:
    """Make the Cholesky factor with the smallest ridge that it needs, from ``ridge`` up."""
    while True:
        ridged = system if ridge == 0 else system.clone()
        ridged.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(ridged)
        if not failed:
            return factor, ridge
        ridge = max(10 * ridge, SMALLEST_RIDGE)
