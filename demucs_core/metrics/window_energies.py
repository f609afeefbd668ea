"""The energies of BSSEval v4's components, window by window.

Shape legend: S sources, C channels, K = S * C channels of all sources, L taps of a filter, N
windows or blocks transformed at once, F frequency bins.

A window is filtered as if there were silence around it, its tail of L - 1 samples included. So its
spectrum at a length that holds the tail gives the energies by Parseval's theorem, and nothing is
transformed back. Windows too long for that are filtered block by block (overlap-save), and their
energies summed: memory depends neither on the track nor on the window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import scipy.fft
import torch
from torch import Tensor

from demucs_core.metrics.distortion_filters import (
    BlockReader,
    Filters,
    as_tensor,
    read_padded,
    silent_sources,
)
from demucs_core.metrics.ordered_threads import map_in_order

BATCH_BYTES = {"cpu": 2**22, "cuda": 2**27}
"""Most that one tensor of all channels holds: what fits a CPU's cache, or fills a GPU."""

FILTER_BYTES = 2**26
"""Most that the spectra of the filters may hold where windows are transformed whole."""


STREAM_FFT_SAMPLES = 2**14


@dataclass(frozen=True, kw_only=True)
class WindowEnergies:
    """The energies that some windows' scores are ratios of, in the order SDR, ISR, SIR, SAR.

    Attributes:
        above: ``(4, N, S)``: the true source (twice), its projection on its own, its projection on
            all.
        below: ``(4, N, S)``: all distortion, spatial distortion, interference, artifacts.
        silent: ``(N,)`` of bool: where any reference or estimate is silent.
    """

    above: Tensor
    below: Tensor
    silent: Tensor


@dataclass(frozen=True, kw_only=True)
class _FilterSpectra:
    joint: Tensor  # (F, K, K)
    own: Tensor | None  # (F, 1, S, C, C); None with one source, whose own projection is the joint
    fft_samples: int


def window_energies(
    read_references: BlockReader,
    read_estimates: BlockReader,
    num_samples: int,
    starts: Sequence[int],
    window_samples: int,
    filters: Filters,
) -> Iterator[WindowEnergies]:
    """Yield the energies of windows in order, a batch at a time.

    Args:
        read_references: gives samples [start, stop) of all true sources.
        read_estimates: the same of the estimates.
        num_samples: length of the track.
        starts: first samples of the windows.
        window_samples: their length; none may end behind the track.
        filters: the distortion filters; their type and device are those of the transforms.
    """
    assert max(starts) + window_samples <= num_samples
    num_rows, taps, _ = filters.joint.shape
    fft_samples = 2 * scipy.fft.next_fast_len(-(-(window_samples + taps - 1) // 2), real=True)
    batch_bytes = BATCH_BYTES["cuda" if filters.joint.is_cuda else "cpu"]
    bytes_a_window = (fft_samples + 2) * filters.joint.element_size()
    if bytes_a_window * num_rows * max(num_rows, 8) <= FILTER_BYTES:
        spectra = _filter_spectra(filters, fft_samples)
        batch = max(batch_bytes // (bytes_a_window * num_rows), 1)

        def heard(read: BlockReader, spans: list[tuple[int, int]]) -> Tensor:
            windows = torch.stack([as_tensor(read(*span)) for span in spans])
            return windows.to(filters.joint.device)

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            for first in range(0, len(starts), batch):
                spans = [(start, start + window_samples) for start in starts[first : first + batch]]
                yield heard(read_references, spans), heard(read_estimates, spans)

        yield from map_in_order(
            lambda audio: _transformed(*audio, spectra), batches(), filters.joint.device
        )
        return
    fft_samples = max(STREAM_FFT_SAMPLES, 1 << (4 * taps - 1).bit_length())
    spectra = _filter_spectra(filters, fft_samples)
    for start in starts:
        stop = start + window_samples
        yield _streamed(read_references, read_estimates, start, stop, taps, spectra, batch_bytes)


def _filter_spectra(filters: Filters, fft_samples: int) -> _FilterSpectra:
    joint = torch.fft.rfft(filters.joint, n=fft_samples, dim=1).transpose(0, 1).contiguous()
    own = None
    if len(filters.own) > 1:
        own = torch.fft.rfft(filters.own, n=fft_samples, dim=2).permute(2, 0, 1, 3)[:, None]
        own = own.contiguous()
    return _FilterSpectra(joint=joint, own=own, fft_samples=fft_samples)


def _spectrum(rows: Tensor, filters: _FilterSpectra) -> Tensor:
    """Transform ``(N, K, T)`` to ``(F, N, K)`` in the type and on the device of the filters."""
    rows = rows.to(filters.joint.device, filters.joint.real.dtype)
    spectrum: Tensor = torch.fft.rfft(rows, n=filters.fft_samples)
    return spectrum.permute(2, 0, 1).contiguous()


def _project(references: Tensor, filters: _FilterSpectra) -> tuple[Tensor, Tensor]:
    """Project on the own source and on all: two ``(F, N, K)`` from the spectra ``(F, N, K)``."""
    joint = torch.bmm(references, filters.joint)
    if filters.own is None:
        return joint, joint
    sources, channels = filters.own.shape[2:4]
    per_source = references.unflatten(-1, (sources, channels))
    own = per_source[..., 0, None] * filters.own[..., 0, :]
    for channel in range(1, channels):
        own += per_source[..., channel, None] * filters.own[..., channel, :]
    return own.flatten(-2), joint


def _energies(true: Tensor, estimate: Tensor, own: Tensor, joint: Tensor) -> Tensor:
    """Sum the components' squares over the first axis, of samples or spectra alike.

    In museval's order of operations: what is zero there, or nothing but rounding, is so here.

    Returns:
        ``(2, 4, …)``: the energies above and below the line of SDR, ISR, SIR and SAR.
    """
    spatial = own - true
    interference = (joint - true).sub_(spatial)
    artifacts = torch.neg(true).sub_(spatial).sub_(interference).add_(estimate)
    below = [_energy(each) for each in (spatial, interference, artifacts)]
    distortion = _energy(spatial.add_(interference).add_(artifacts))
    source = _energy(true)
    above = [source, source, _energy(own), _energy(joint)]
    energies: Tensor = torch.stack([*above, distortion, *below]).unflatten(0, (2, 4))
    return energies


def _energy(part: Tensor) -> Tensor:
    if not part.is_complex():
        return part.square().sum(0)
    # Real and imaginary parts side by side, and summed last: the long sum runs along memory.
    squares = torch.view_as_real(part).flatten(-2).square().sum(0)
    return squares.reshape(*part.shape[1:], 2).sum(-1)


def _transformed(references: Tensor, estimates: Tensor, filters: _FilterSpectra) -> WindowEnergies:
    """Compute the energies of whole windows ``(N, S, C, T)`` by Parseval's theorem."""
    silent = silent_sources(references).any(-1) | silent_sources(estimates).any(-1)
    if silent.all():
        # Their scores are NaN whatever their energies, and a song has many such windows.
        nothing = filters.joint.real.new_zeros((4, *references.shape[:2]))
        return WindowEnergies(above=nothing, below=nothing, silent=silent)
    # Weighted so that the sum over the half spectrum is the energy: all is linear from here on.
    weight = filters.joint.real.new_full((len(filters.joint), 1, 1), 2 / filters.fft_samples)
    weight[[0, -1]] /= 2
    weight.sqrt_()
    true = _spectrum(references.flatten(1, 2), filters).mul_(weight)
    estimate = _spectrum(estimates.flatten(1, 2), filters).mul_(weight)
    own, joint = _project(true, filters)
    energies = _energies(true, estimate, own, joint).unflatten(-1, references.shape[1:3]).sum(-1)
    return WindowEnergies(above=energies[0], below=energies[1], silent=silent)


def _streamed(
    read_references: BlockReader,
    read_estimates: BlockReader,
    start: int,
    stop: int,
    taps: int,
    filters: _FilterSpectra,
    batch_bytes: int,
) -> WindowEnergies:
    """Compute the energies of one window of any length by overlap-save."""
    past = taps - 1
    block = filters.fft_samples - past
    num_rows = filters.joint.shape[1]
    chunk = block * max(batch_bytes // (8 * num_rows * filters.fft_samples), 1)
    end = stop + past

    def chunks() -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(start, end, chunk):
            last = first + min(chunk, -(-(end - first) // block) * block)
            references = read_padded(read_references, first - past, last, start, stop)
            yield references, read_padded(read_estimates, first, last, start, stop)

    def sums(audio: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        references, estimates = (each.to(filters.joint.device) for each in audio)
        silent = torch.cat([silent_sources(references), silent_sources(estimates)])
        delayed = references.flatten(0, 1).unfold(-1, filters.fft_samples, block).transpose(0, 1)
        own, joint = (
            torch.fft.irfft(each.permute(1, 2, 0), n=filters.fft_samples)[..., past:]
            for each in _project(_spectrum(delayed, filters), filters)
        )
        now = estimates.flatten(0, 1).unfold(-1, block, block).transpose(0, 1).to(own)
        true = delayed[..., past:].to(own)
        by_time = (each.permute(0, 2, 1).flatten(0, 1) for each in (true, now, own, joint))
        return _energies(*by_time).unflatten(-1, references.shape[:2]).sum(-1), silent

    parts, silences = zip(*map_in_order(sums, chunks(), filters.joint.device), strict=True)
    energies = torch.stack(parts).sum(0)[:, :, None]
    silent = torch.stack(silences).all(0).any()
    return WindowEnergies(above=energies[0], below=energies[1], silent=silent[None])
