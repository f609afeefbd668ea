"""Curves of a training, in as many points as an eye can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flows.reports.plots import SIZE_IN

MAX_POINTS = 300


def detector_figure(losses: Sequence[float]) -> Figure:
    """The detector's training loss over the steps."""
    figure = Figure(figsize=SIZE_IN)
    axes = figure.subplots()
    axes.plot(*binned(losses), color="#222222")
    axes.set(xlabel="step", ylabel="cross-entropy of silence")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def binned(
    losses: Sequence[float], first_step: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The last step and the mean of stretches of steps of equal length, at most 300 of them.

    The mean is over what is finite; NaN where nothing is.

    >>> binned([4.0, 2.0, 1.0], first_step=10)
    (array([11., 12., 13.]), array([4., 2., 1.]))
    """
    width = -(-len(losses) // MAX_POINTS) or 1
    starts = np.arange(0, len(losses), width)
    stops = np.minimum(starts + width, len(losses))
    values = np.asarray(losses, dtype=np.float64)
    if not len(values):
        return values, values
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    counts = np.add.reduceat(known, starts, dtype=np.float64)
    means = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    return (first_step + stops).astype(np.float64), means
