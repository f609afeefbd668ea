"""Plots of a comparison: every test song's SDR, and the differences between methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from demucs_core.metrics.comparison import Comparison
from flows.reports.artifacts import Report
from flows.reports.plots import new_axes, slant_names

METHOD_COLORS = ("#777777", "#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860")
GROUP_WIDTH = 0.8


def sdr_boxes(report: Report, sdr_db: Mapping[str, NDArray[np.float64]]) -> None:
    """The songs' SDR as a box a method, side by side for each source, each song a dot.

    Args:
        report: where it goes.
        sdr_db: a method's label to ``(N, S)``, songs by sources; NaN where undefined.
    """
    sources = report.workspace.music.sources
    figure, axes = new_axes("", "SDR (dB)")
    for source, (label, values) in product(range(len(sources)), sdr_db.items()):
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
    _finish_groups(figure, axes, sources)
    report.plot("sdr", figure, "SDR of each test song: median over its frames")


def sdr_differences(report: Report, comparisons: Mapping[str, Comparison], reference: str) -> None:
    """How much higher each song's SDR is than that of a reference, with the median's interval.

    Args:
        report: where it goes.
        comparisons: a method's label to its comparison.
        reference: label of the method that they are compared to.
    """
    figure, axes = new_axes("", "difference in SDR (dB)")
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
    _finish_groups(figure, axes, (*report.workspace.music.sources, "mean"))
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
    slant_names(axes, names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    figure.legend(
        *axes.get_legend_handles_labels(), frameon=False, loc="upper left", fontsize="small",
        bbox_to_anchor=(0.1, -0.02),
    )  # fmt: skip
