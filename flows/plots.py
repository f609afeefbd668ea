"""The plot that matters for each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demucs_core import SOURCES
from demucs_core.validation import Validation
from flows.artifacts import Report
from storage.manifests import Manifests, Partition

COLORS = dict(zip(SOURCES, ("#4c72b0", "#dd8452", "#55a868", "#c44e52"), strict=True))
SIZE_IN = (8.0, 3.6)
HISTOGRAM_BINS = np.linspace(0.0, 1.0, 51)
MAX_ROWS_DRAWN = 2000


def silence_histogram(report: Report, manifests: Manifests, scores: Partition) -> None:
    """How often each probability of silence was given, a source, over a sample of the tracks."""
    counts = np.zeros((len(SOURCES), len(HISTOGRAM_BINS) - 1), dtype=np.int64)
    for number, row in enumerate(manifests.rows(scores, ["silence_probability"])):
        if number == MAX_ROWS_DRAWN:
            break
        for index, values in enumerate(row["silence_probability"]):
            counts[index] += np.histogram(values, HISTOGRAM_BINS)[0]
    figure, axes = _axes("Probability of silence", "frames")
    for source, values in zip(SOURCES, counts, strict=True):
        axes.stairs(values, HISTOGRAM_BINS, label=source, color=COLORS[source], linewidth=1.8)
    axes.set_yscale("log")
    axes.legend(frameon=False)
    report.plot("scores", figure, "How sure the detector is that a source is silent")


def bars(report: Report, name: str, values: Mapping[str, float], unit: str, caption: str) -> None:
    """One bar a source."""
    figure, axes = _axes("", unit)
    axes.bar(list(values), list(values.values()), color=[COLORS[source] for source in values])
    report.plot(name, figure, caption)


def loss_curves(report: Report, history: Sequence[Validation], sources: Sequence[str]) -> None:
    """Training and validation loss, and validation SDR, over the steps."""
    steps = [entry.step for entry in history]
    figure = Figure(figsize=SIZE_IN)
    loss, sdr = figure.subplots(1, 2)
    loss.plot(steps, [entry.train_loss for entry in history], label="training", color="#888888")
    loss.plot(steps, [entry.loss for entry in history], label="validation", color="#222222")
    loss.set(xlabel="step", ylabel="L1 loss")
    loss.legend(frameon=False)
    for index, source in enumerate(sources):
        values = [entry.sdr_db[index] if entry.sdr_db else np.nan for entry in history]
        sdr.plot(steps, values, label=source, color=COLORS[source])
    sdr.set(xlabel="step", ylabel="validation SDR (dB)")
    sdr.legend(frameon=False)
    for axes in (loss, sdr):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    report.plot("loss", figure, "Loss and validation SDR")


def sdr_boxes(report: Report, sdr_db: Mapping[str, Sequence[float]]) -> None:
    """The songs' SDR as a box a source, each song a dot."""
    figure, axes = _axes("", "SDR (dB)")
    finite = [[value for value in values if np.isfinite(value)] for values in sdr_db.values()]
    axes.boxplot(finite, tick_labels=list(sdr_db), widths=0.5, showfliers=False)
    for position, values in enumerate(finite, start=1):
        axes.plot([position] * len(values), values, "o", color="#4c72b0", alpha=0.5, markersize=4)
    report.plot("sdr", figure, "SDR of each test song: median over its frames")


def precision_recall(
    report: Report, curves: Mapping[str, tuple[Sequence[float], Sequence[float], float]]
) -> None:
    """Precision over recall of extracted seconds on held-out songs.

    Args:
        report: where it goes.
        curves: a source's name to recalls, precisions, and the recall at its threshold (NaN if it
            has none).
    """
    figure, axes = _axes("recall of silent seconds", "precision of extracted seconds")
    for source, (recall, precision, chosen) in curves.items():
        axes.plot(recall, precision, label=source, color=COLORS[source])
        if np.isfinite(chosen):
            axes.axvline(chosen, color=COLORS[source], linestyle=":", linewidth=1)
    axes.set_ylim(0.5, 1.01)
    axes.legend(frameon=False)
    report.plot("precision-recall", figure, "Held-out songs; dotted: the threshold chosen")


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_IN)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
