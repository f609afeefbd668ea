"""What the plots of all stages share: colours, sizes, bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from itertools import cycle
from math import ceil, sqrt

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flows.reports.artifacts import Report

COLORS = (
    "#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c",
    "#ccb974", "#64b5cd", "#1b4f72", "#a04000", "#1d8348", "#7b241c", "#512e5f", "#4a3f35",
)  # fmt: skip
SIZE_IN = (8.0, 3.6)
MAX_LEVEL_NAMES = 5
"""More names than these on an axis would overlap, and are put aslant."""


def colors_of(sources: Iterable[str]) -> dict[str, str]:
    """A colour for each of a workspace's sources, by its place among them."""
    return dict(zip(sources, cycle(COLORS), strict=False))


def slant_names(axes: Axes, names: Sized) -> None:
    """Put the names on the horizontal axis aslant where they are many."""
    if len(names) > MAX_LEVEL_NAMES:
        axes.tick_params("x", labelrotation=30)


def bars(report: Report, name: str, values: Mapping[str, float], unit: str, caption: str) -> None:
    """One bar a source."""
    figure, axes = new_axes("", unit)
    axes.bar(list(values), list(values.values()), color=colors_of(values).values())
    slant_names(axes, values)
    report.plot(name, figure, caption)


def new_panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side."""
    width, height = SIZE_IN
    figure = Figure(figsize=(width if count == 1 else count * 0.55 * width, height))
    all_axes = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, all_axes


def grid_of(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with panels in rows, which share their axes: two by two where they are four."""
    columns = max(2, ceil(sqrt(count)))
    rows = ceil(count / columns)
    figure = Figure(figsize=(4.0 * columns, 2.3 * rows))
    all_axes = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes in all_axes[:count]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.label_outer()
    for axes in all_axes[count:]:
        axes.set_visible(False)
    for axes in all_axes[max(0, count - columns) : count]:
        axes.tick_params("x", labelbottom=True)
    return figure, all_axes[:count]


def new_axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """A figure of one panel, with its labels."""
    figure = Figure(figsize=SIZE_IN)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
