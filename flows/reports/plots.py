"""The plot that matters for each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from demucs_core import SOURCES
from demucs_core.extraction.calibration_result import Calibration
from demucs_core.metrics.comparison import Comparison
from flows.reports.artifacts import Report

COLORS = dict(zip(SOURCES, ("#4c72b0", "#dd8452", "#55a868", "#c44e52"), strict=True))
METHOD_COLORS = ("#777777", "#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860")
GROUP_WIDTH = 0.8
SIZE_IN = (8.0, 3.6)


def bars(report: Report, name: str, values: Mapping[str, float], unit: str, caption: str) -> None:
    """One bar a source."""
    figure, axes = _axes("", unit)
    axes.bar(list(values), list(values.values()), color=[COLORS[source] for source in values])
    report.plot(name, figure, caption)


def sdr_boxes(report: Report, sdr_db: Mapping[str, NDArray[np.float64]]) -> None:
    """The songs' SDR as a box a method, side by side for each source, each song a dot.

    Args:
        report: where it goes.
        sdr_db: a method's label to ``(N, S)``, songs by sources; NaN where undefined.
    """
    figure, axes = _axes("", "SDR (dB)")
    for source, (label, values) in product(range(len(SOURCES)), sdr_db.items()):
        method = list(sdr_db).index(label)
        place = _beside(source, method, len(sdr_db))
        finite = values[np.isfinite(values[:, source]), source]
        color = METHOD_COLORS[method % len(METHOD_COLORS)]
        axes.boxplot(
            finite,
            positions=[place],
            widths=0.6 * GROUP_WIDTH / len(sdr_db),
            showfliers=False,
            medianprops={"color": color, "linewidth": 2},
            manage_ticks=False,
        )
        dots = _scatter(place, len(finite), len(sdr_db))
        shown = label if source == 0 else None
        axes.plot(dots, finite, "o", color=color, alpha=0.5, markersize=3.5, label=shown)
    _finish_groups(figure, axes, SOURCES)
    report.plot("sdr", figure, "SDR of each test song: median over its frames")


def sdr_differences(report: Report, comparisons: Mapping[str, Comparison], reference: str) -> None:
    """How much higher each song's SDR is than that of a reference, with the median's interval.

    Args:
        report: where it goes.
        comparisons: a method's label to its comparison.
        reference: label of the method that they are compared to.
    """
    figure, axes = _axes("", "difference in SDR (dB)")
    axes.axhline(0, color="#888888", linewidth=1)
    for method, (label, comparison) in enumerate(comparisons.items()):
        color = METHOD_COLORS[(method + 1) % len(METHOD_COLORS)]
        for group, difference in enumerate((*comparison.sources, comparison.mean)):
            place = _beside(group, method, len(comparisons))
            dots = _scatter(place, difference.num_songs, len(comparisons))
            values = difference.differences_db
            axes.plot(dots, values, "o", color=color, alpha=0.35, markersize=3.5)
            shown = label if group == 0 else None
            axes.plot(place, difference.median_db, "D", color=color, markersize=6, label=shown)
            axes.vlines(place, difference.low_db, difference.high_db, color=color, linewidth=2.5)
    _finish_groups(figure, axes, (*SOURCES, "mean"))
    caption = f"SDR of each test song, less that of {reference}: median and its interval"
    report.plot("differences", figure, caption)


def _beside(group: int, index: int, count: int) -> float:
    """Where the one of ``count`` things of a group goes on the axis."""
    return group + GROUP_WIDTH * ((index + 0.5) / count - 0.5)


def _scatter(place: float, num_dots: int, count: int) -> NDArray[np.float64]:
    """Places of dots, spread so that few cover each other, the same each time."""
    golden = (np.arange(num_dots, dtype=np.float64) * 0.618034) % 1 - 0.5
    return np.asarray(place + 0.4 * GROUP_WIDTH / count * golden, dtype=np.float64)


def _finish_groups(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    figure.legend(
        *axes.get_legend_handles_labels(), frameon=False, loc="upper left", fontsize="small",
        bbox_to_anchor=(0.1, -0.02),
    )  # fmt: skip


def precision_recall(report: Report, calibration: Calibration) -> None:
    """Precision over recall of extracted seconds on held-out songs, and the thresholds chosen."""
    chosen = {
        source.source: (source.recall, source.precision)
        for source in calibration.sources
        if source.precision is not None
    }
    figure = precision_recall_figure({"": (calibration, chosen)})
    report.plot("precision-recall", figure, "Held-out songs; dots: the thresholds chosen")


def reliability(report: Report, calibration: Calibration) -> None:
    """How often a source is silent, over how likely the detector held it to be."""
    figure = reliability_figure({"": calibration})
    report.plot("reliability", figure, "Held-out songs; dashed: probabilities that mean it")


def precision_recall_figure(
    panels: Mapping[str, tuple[Calibration, Mapping[str, tuple[float, float]]]],
) -> Figure:
    """Precision over recall of the extracted seconds at every threshold, a line a source.

    Args:
        panels: by title, the curves, and the recall and precision of a source to put a dot at.
    """
    figure, axes_of = _panels(len(panels))
    for axes, (title, (calibration, dots)) in zip(axes_of, panels.items(), strict=True):
        for source in calibration.sources:
            curve, color = source.curve, COLORS[source.source]
            axes.plot(curve.recall, _values(curve.precision), label=source.source, color=color)
            if source.source in dots:
                axes.plot(*dots[source.source], "o", color=color)
        axes.set(title=title, xlabel="recall of silent seconds", xlim=(0, 1), ylim=(0.5, 1.01))
    axes_of[0].set_ylabel("precision of extracted seconds")
    axes_of[-1].legend(frameon=False)
    figure.tight_layout()
    return figure


def reliability_figure(calibrations: Mapping[str, Calibration]) -> Figure:
    """Share of frames silent in truth over the probability given: a panel a title."""
    figure, panels = _panels(len(calibrations))
    for axes, (title, calibration) in zip(panels, calibrations.items(), strict=True):
        axes.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color="#888888")
        for source in calibration.sources:
            bins = source.reliability
            predicted, observed = _values(bins.predicted), _values(bins.observed)
            color = COLORS[source.source]
            axes.plot(predicted, observed, "o-", label=source.source, color=color, markersize=4)
        axes.set(title=title, xlabel="probability of silence given", xlim=(0, 1), ylim=(0, 1.01))
    panels[0].set_ylabel("share of frames silent in truth")
    panels[-1].legend(frameon=False)
    figure.tight_layout()
    return figure


def _values(values: Sequence[float | None]) -> list[float]:
    """As matplotlib takes them: NaN where there is none."""
    return [np.nan if value is None else value for value in values]


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    width, height = SIZE_IN
    figure = Figure(figsize=(width if count == 1 else count * 0.55 * width, height))
    panels = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_IN)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
