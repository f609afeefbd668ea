"""BSSEval v4 as museval 0.4.1 computes it, in one pass for the filters and one for the windows.

Shape legend: S sources, C channels, T samples, W windows, K = S * C channels of all sources,
L taps of the distortion filters, N windows or blocks transformed at once, F frequency bins.

An estimate is split into its true source, a spatial distortion, interference and artifacts:
the projection on delayed copies of its own source less the source, the projection on all sources
less that, and the rest. The filters are those of the whole track; the energies, and so the scores,
are a window's. Stöter, Liutkus and Ito, "The 2018 Signal Separation Evaluation Campaign"
(LVA/ICA 2018), and museval's ``metrics.bss_eval``, whose numbers these are.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> references = rng.standard_normal((2, 2, 6000))
>>> estimates = references + 0.1 * rng.standard_normal((2, 2, 6000))
>>> scores = bss_eval(
...     references, estimates, window_samples=2000, hop_samples=2000, filter_samples=32
... )
>>> scores.sdr.shape
(2, 3)
>>> bool(np.all(np.abs(scores.sdr - 20) < 1))
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.metrics.distortion_filters import (
    BlockReader,
    Filters,
    FloatArray,
    as_tensor,
    correlate,
    solve_filters,
)
from demucs_core.metrics.museval_filters import museval_filters
from demucs_core.metrics.window_energies import WindowEnergies, window_energies

SONG_SDR_DELTA = 1e-7
"""Added to both energies of :func:`song_sdr`, as in the Music Demixing Challenge."""

SHORT_SAMPLES = 2**20
"""Longest track (23.8 s at 44.1 kHz) for which museval's arithmetic is repeated unasked."""

SHORT_CONDITION_LIMIT = 1e9
"""Condition number above which it is, since there it costs seconds."""

ROUNDING_LIMIT = 1e11
"""Condition number above which it is measured what rounding makes of the scores."""

ROUNDING_RIDGE = 1e-13
"""What moves the filters for that: hundreds of times what float64 rounds away."""

ROUNDING_DB = 140.0
"""Above this, an error's energy is what float64 rounds away, and no two programs agree on it."""

ROUNDING_WINDOWS = 32
"""Windows that it is measured in, evenly spread."""


@dataclass(frozen=True, kw_only=True)
class BssScores:
    """BSSEval v4 scores in dB, each ``(S, W)`` float64; NaN in windows with any silent source.

    Attributes:
        sdr: source to distortion ratio.
        isr: image to spatial distortion ratio.
        sir: source to interference ratio; infinite where there is one source.
        sar: sources to artifacts ratio.
        rounding_db: how much of ISR, SIR and SAR is decided by the rounding of float64, in museval
            as here: the largest change by other filters that fit as well. Zero where the references
            determine the filters. SDR does not depend on the filters.
    """

    sdr: FloatArray
    isr: FloatArray
    sir: FloatArray
    sar: FloatArray
    rounding_db: float


def bss_eval(
    references: Tensor | NDArray[Any],
    estimates: Tensor | NDArray[Any],
    *,
    window_samples: int,
    hop_samples: int | None = None,
    filter_samples: int = 512,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
    exact: bool | None = None,
) -> BssScores:
    """Score estimates against references with BSSEval v4.

    Equals ``museval.evaluate`` (``mode="v4"``) to rounding. Windows that don't fit into the track
    are dropped, as there; a window longer than the track is the track. Where a lossy codec left
    the references next to nothing in a band, as in float samples decoded from MP3, museval's ISR,
    SIR and SAR are of its own rounding, and change by up to a decibel when its input is merely
    scaled: ``rounding_db`` tells. Samples of 16 bits are not concerned.

    Args:
        references: ``(S, C, T)``, the true sources, of any real type.
        estimates: ``(S, C, T)``, in the same order; :func:`match_length` pads or cuts as museval.
        window_samples: length of a window; museval's is a second.
        hop_samples: from the start of a window to the start of the next; a window unless told.
        filter_samples: taps of the distortion filters; museval's are 512.
        device: where to compute.
        dtype: of the transforms of the windows; the filters are always found in float64.
        exact: repeat museval's own arithmetic for the filters, rounding and all (on the CPU;
            several times slower, memory as the track's length). The default is to do so for tracks
            of up to :data:`SHORT_SAMPLES` whose references nearly depend on each other.

    Raises:
        ValueError: shapes that don't fit, NaN or infinite samples, or (as museval) a source that
            is silent throughout; the message says which.
    """
    if references.ndim != 3 or references.shape != estimates.shape:
        raise ValueError(
            "references and estimates must have the same shape (sources, channels, samples), got "
            f"{tuple(references.shape)} and {tuple(estimates.shape)}"
        )
    return bss_eval_streamed(
        lambda start, stop: references[..., start:stop],
        lambda start, stop: estimates[..., start:stop],
        num_samples=references.shape[-1],
        window_samples=window_samples,
        hop_samples=hop_samples,
        filter_samples=filter_samples,
        device=device,
        dtype=dtype,
        exact=exact,
    )


def bss_eval_streamed(
    read_references: BlockReader,
    read_estimates: BlockReader,
    *,
    num_samples: int,
    window_samples: int,
    hop_samples: int | None = None,
    filter_samples: int = 512,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
    exact: bool | None = None,
) -> BssScores:
    """Score a track that is read piece by piece, twice: :func:`bss_eval` in bounded memory.

    Args:
        read_references: gives samples [start, stop) of the true sources, ``(S, C, stop - start)``.
        read_estimates: the same of the estimates.
        num_samples: length of both.
        window_samples: see :func:`bss_eval`, as all that follow.
        hop_samples: as there.
        filter_samples: as there.
        device: as there.
        dtype: as there.
        exact: as there; where museval's arithmetic is repeated, the track is read whole.

    Raises:
        ValueError: as there.
    """
    hop_samples = window_samples if hop_samples is None else hop_samples
    for name, value in (
        ("num_samples", num_samples),
        ("window_samples", window_samples),
        ("hop_samples", hop_samples),
        ("filter_samples", filter_samples),
    ):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    shape, other = read_references(0, 1).shape, read_estimates(0, 1).shape
    if len(shape) != 3 or shape != other or 0 in shape:
        raise ValueError(
            "references and estimates must have the same shape (sources, channels, samples), got "
            f"{tuple(shape)} and {tuple(other)} for the first sample"
        )
    device = torch.device(device)
    correlations = correlate(read_references, read_estimates, num_samples, filter_samples, device)
    filters, condition = solve_filters(correlations, shape[1])
    if exact is None:
        exact = num_samples <= SHORT_SAMPLES and condition > SHORT_CONDITION_LIMIT
    other_filters = None
    if condition > ROUNDING_LIMIT:
        other_filters, _ = solve_filters(correlations, shape[1], ROUNDING_RIDGE)
    if exact:
        whole = [
            as_tensor(read(0, num_samples)).cpu() for read in (read_references, read_estimates)
        ]
        filters = museval_filters(whole[0], whole[1], filter_samples)
    window = min(window_samples, num_samples)
    # Of a track shorter than the window, and only then, the window is cut: one, whatever the hop.
    last = num_samples - window_samples if window_samples < num_samples else 0
    starts = range(0, last + 1, hop_samples)

    def score(filters: Filters, starts: Sequence[int]) -> FloatArray:
        """Score windows, ``(4, W, S)`` in dB."""
        energies = window_energies(
            read_references,
            read_estimates,
            num_samples,
            starts,
            window,
            Filters(joint=filters.joint.to(device, dtype), own=filters.own.to(device, dtype)),
        )
        return np.concatenate([_decibels(batch) for batch in energies], axis=1)

    decibels = score(filters, starts)
    rounding_db = 0.0
    if other_filters is not None:
        every = -(-len(starts) // ROUNDING_WINDOWS)
        rounding_db = _largest_change(decibels[:, ::every], score(other_filters, starts[::every]))
    sdr, isr, sir, sar = (np.ascontiguousarray(each.T) for each in decibels)
    return BssScores(sdr=sdr, isr=isr, sir=sir, sar=sar, rounding_db=rounding_db)


def _largest_change(before: FloatArray, after: FloatArray) -> float:
    both = np.isfinite(before) & np.isfinite(after)
    change = np.minimum(before[both], ROUNDING_DB) - np.minimum(after[both], ROUNDING_DB)
    return float(np.abs(change).max(initial=0.0))


def _decibels(batch: WindowEnergies) -> FloatArray:
    """Turn energies into the four ratios, ``(4, N, S)`` in dB, as museval treats zeros."""
    above: FloatArray = batch.above.to("cpu", torch.float64).numpy()
    below: FloatArray = batch.below.to("cpu", torch.float64).numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(below == 0, np.inf, 10 * np.log10(above / below))
    ratios[:, batch.silent.cpu().numpy()] = np.nan
    return np.asarray(ratios, dtype=np.float64)


def match_length(estimates: NDArray[Any], num_samples: int) -> NDArray[Any]:
    """Pad estimates ``(..., T)`` with zeros at the end, or cut them, as museval does."""
    missing = num_samples - estimates.shape[-1]
    if missing <= 0:
        return estimates[..., :num_samples]
    return np.pad(estimates, [(0, 0)] * (estimates.ndim - 1) + [(0, missing)])


def song_sdr(references: Tensor | NDArray[Any], estimates: Tensor | NDArray[Any]) -> FloatArray:
    """Compute the SDR of the Music Demixing Challenge: one ratio a source over the whole song.

    No filters and no windows: the energy of the reference to that of the difference, 1e-7 added to
    both (so that a silent source estimated as silence scores 0 dB). Mitsufuji et al., "Music
    Demixing Challenge 2021" (Frontiers in Signal Processing, 2022), equation 1.

    Args:
        references: ``(S, C, T)``, full scale 1.
        estimates: ``(S, C, T)``.

    Returns:
        ``(S,)`` in dB, float64.

    Raises:
        ValueError: shapes that don't fit.
    """
    if references.ndim != 3 or references.shape != estimates.shape:
        raise ValueError(
            "references and estimates must have the same shape (sources, channels, samples), got "
            f"{tuple(references.shape)} and {tuple(estimates.shape)}"
        )
    true = torch.full((references.shape[0],), SONG_SDR_DELTA, dtype=torch.float64)
    error = true.clone()
    for start in range(0, references.shape[-1], SHORT_SAMPLES):
        piece = slice(start, start + SHORT_SAMPLES)
        reference = as_tensor(references[..., piece]).to("cpu", torch.float64)
        estimate = as_tensor(estimates[..., piece]).to("cpu", torch.float64)
        true += reference.square().sum((1, 2))
        error += (reference - estimate).square().sum((1, 2))
    decibels: FloatArray = (10 * torch.log10(true / error)).numpy()
    return decibels
