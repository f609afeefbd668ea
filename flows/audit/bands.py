"""Where in the spectrum a source is to be looked for, from the labelled songs of a workspace."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from storage.reading import CropReader
from storage.tables.manifests import Manifests
from storage.tables.schemas import STEMS

MAX_STEMS = 12
EXCERPT_S = 10.0
WINDOW = 4096
LEFT_OUT = 0.05
"""Share of the power below the band, and above it."""


def band_of(manifests: Manifests, source: str) -> tuple[float, float] | None:
    """The frequencies between which most of a source's power lies.

    Args:
        manifests: of the workspace.
        source: its name.

    Returns:
        The lower and the upper one in Hz; None where the workspace has no stem of it that sounds.
    """
    power = np.zeros(WINDOW // 2 + 1)
    for excerpt in itertools.islice(_excerpts(manifests, source), MAX_STEMS):
        found = _power(excerpt)
        if total := found.sum():
            power += found / total  # loud songs tell no more than soft ones
    if not power.any():
        return None
    share = np.cumsum(power) / power.sum()
    low, high = np.searchsorted(share, [LEFT_OUT, 1 - LEFT_OUT])
    bin_hz = manifests.workspace.music.sample_rate / WINDOW
    return float(max(low, 1) * bin_hz), float((high + 1) * bin_hz)


def _excerpts(manifests: Manifests, source: str) -> Iterator[NDArray[np.float32]]:
    """The middle of its stems, ``(C, T)``."""
    reader = CropReader(manifests.workspace.location)
    wanted = round(EXCERPT_S * manifests.workspace.music.sample_rate)
    for partition in manifests.partitions(STEMS.name):
        for row in manifests.rows(partition, ["source", "path", "num_samples"]):
            if row["source"] == source:
                num = min(wanted, row["num_samples"])
                yield reader(row["path"], (row["num_samples"] - num) // 2, num)


def _power(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    mono = np.pad(audio.mean(axis=0, dtype=np.float64), (0, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(mono, WINDOW)[:: WINDOW // 2]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    return np.asarray(spectra.sum(axis=0))
