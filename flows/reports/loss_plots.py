"""Curves of a training: its loss, and what the validations say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from demucs_core.training.validation import Validation
from flows.reports.plots import SIZE_IN, colors_of

MAX_POINTS = 300


def training_figure(
    sources: Sequence[str],
    history: Sequence[Validation],
    losses: Sequence[float] = (),
    first_step: int = 0,
) -> Figure:
    """Training and validation loss, and validation SDR a source, over the steps.

    Args:
        sources: in the order of the validations' figures.
        history: the validations so far.
        losses: of the steps after ``first_step``.
        first_step: steps that an earlier run did.
    """
    figure = Figure(figsize=SIZE_IN)
    loss, sdr = figure.subplots(1, 2)
    steps = [entry.step for entry in history]
    loss.plot(*binned(losses, first_step), color="#bbbbbb", linewidth=1, label="training")
    loss.plot(steps, [entry.train_loss for entry in history], ".-", color="#777777",
              label="training, since the last validation")  # fmt: skip
    loss.plot(steps, [entry.loss for entry in history], ".-", color="#222222", label="validation")
    loss.set(xlabel="step", ylabel="L1 loss")
    for index, (source, color) in enumerate(colors_of(sources).items()):
        values = [entry.sdr_db[index] if entry.sdr_db else np.nan for entry in history]
        sdr.plot(steps, values, ".-", label=source, color=color)
    sdr.set(xlabel="step", ylabel="validation SDR (dB)")
    for axes in (loss, sdr):
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


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
    """The last step and the mean loss of stretches of steps of equal length, at most 300 of them.

    >>> binned([4.0, 2.0, 1.0], first_step=10)
    (array([11., 12., 13.]), array([4., 2., 1.]))
    """
    width = -(-len(losses) // MAX_POINTS) or 1
    starts = np.arange(0, len(losses), width)
    stops = np.minimum(starts + width, len(losses))
    values = np.asarray(losses, dtype=np.float64)
    sums = np.add.reduceat(values, starts) if len(values) else values
    return (first_step + stops).astype(np.float64), sums / (stops - starts)
