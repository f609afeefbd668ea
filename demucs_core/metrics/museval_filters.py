"""The distortion filters of BSSEval v4 in museval's own arithmetic, operation for operation.

Shape legend: as in :mod:`demucs_core.metrics.distortion_filters`.

Where its equations no longer determine the filters, museval's are what its own rounding makes of
them. To have them all the same, nothing will do but to round as it does.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from scipy.linalg import toeplitz
from torch import Tensor

from demucs_core.metrics.distortion_filters import Filters, FloatArray


def museval_filters(references: Tensor, estimates: Tensor, filter_samples: int) -> Filters:
    """Compute the filters bit for bit as museval 0.4.1 does, for ``(S, C, T)`` on the CPU.

    The same transforms of the whole track, the same ``numpy.linalg.solve``, and the same ``lstsq``
    where that finds an exactly singular matrix. It is asked once for all estimates, where museval
    asks anew for each: the factors are the same, and so are the columns. Slower than
    ``solve_filters``, and its memory grows with the track.
    """
    sources, channels, num_samples = references.shape
    num_rows = sources * channels
    fft_samples = int(2 ** np.ceil(np.log2(num_samples + filter_samples - 1.0)))
    spectra = [_spectrum(row, fft_samples) for row in references.reshape(num_rows, -1)]
    system = np.empty((num_rows, filter_samples, num_rows, filter_samples))
    for later in range(num_rows):
        for earlier in range(later + 1):
            ring = _correlation_ring(spectra[later], spectra[earlier])
            block = toeplitz(_first_lags(ring, filter_samples), r=ring[:filter_samples])
            system[later, :, earlier] = block
            system[earlier, :, later] = block.T
    targets = np.empty((num_rows, filter_samples, num_rows))
    for column, row in enumerate(estimates.reshape(num_rows, -1)):
        estimate = _spectrum(row, fft_samples)
        for index, reference in enumerate(spectra):
            ring = _correlation_ring(reference, estimate)
            targets[index, :, column] = _first_lags(ring, filter_samples)
    del spectra
    columns = [slice(start, start + channels) for start in range(0, num_rows, channels)]
    # But a column alone is solved for by another routine, which rounds otherwise.
    at_once = num_rows if channels > 1 else 1
    joint = _solve_as_museval(system, targets, at_once)
    own = np.stack([_solve_as_museval(system[c, :, c], targets[c, :, c], at_once) for c in columns])
    return Filters(joint=torch.from_numpy(joint), own=torch.from_numpy(own))


def _spectrum(samples: Tensor, fft_samples: int) -> NDArray[np.complex128]:
    spectrum: NDArray[np.complex128] = scipy.fft.fft(
        samples.to(torch.float64).numpy(), n=fft_samples
    )
    return spectrum


def _correlation_ring(first: NDArray[np.complex128], second: NDArray[np.complex128]) -> FloatArray:
    # The whole spectra in museval's very expression, though half would do: numpy chooses by size
    # the order in which it multiplies, and that decides how the products are rounded.
    product = first * np.conj(second)
    ring: FloatArray = np.real(scipy.fft.ifft(product, overwrite_x=True))
    return ring


def _first_lags(ring: FloatArray, filter_samples: int) -> FloatArray:
    return np.hstack((ring[0], ring[-1:-filter_samples:-1]))


def _solve_as_museval(system: FloatArray, targets: FloatArray, at_once: int) -> FloatArray:
    """Solve ``(K, L, K, L)`` for ``(K, L, N)``, so many columns at once."""
    size = system.shape[0] * system.shape[1]
    matrix = system.reshape(size, size)
    right = targets.reshape(size, -1)
    eps = np.finfo(np.float64).eps
    try:
        ridged = matrix + eps * np.eye(size)
        starts = range(0, right.shape[1], at_once)
        solved = [np.linalg.solve(ridged, right[:, start : start + at_once]) for start in starts]
        solution: FloatArray = np.concatenate(solved, axis=1)
    except np.linalg.LinAlgError:
        solution = np.asarray(np.linalg.lstsq(matrix, right)[0], dtype=np.float64)
    return solution.reshape(targets.shape)
