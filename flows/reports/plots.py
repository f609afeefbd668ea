"""What the plots of all stages share: colours, sizes, bars."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demucs_core import SOURCES
from flows.reports.artifacts import Report

COLORS = dict(zip(SOURCES, ("#4c72b0", "#dd8452", "#55a868", "#c44e52"), strict=True))
SIZE_IN = (8.0, 3.6)


def bars(report: Report, name: str, values: Mapping[str, float], unit: str, caption: str) -> None:
    """One bar a source."""
    figure, axes = new_axes("", unit)
    axes.bar(list(values), list(values.values()), color=[COLORS[source] for source in values])
    report.plot(name, figure, caption)


def new_panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side."""
    width, height = SIZE_IN
    figure = Figure(figsize=(width if count == 1 else count * 0.55 * width, height))
    all_axes = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, all_axes


def new_axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """A figure of one panel, with its labels."""
    figure = Figure(figsize=SIZE_IN)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
