"""Plots of a calibration: precision over recall, and whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from demucs_core.extraction.calibration_result import Calibration
from flows.reports.artifacts import Report
from flows.reports.plots import colors_of, new_panels


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
    figure, axes_of = new_panels(len(panels))
    for axes, (title, (calibration, dots)) in zip(axes_of, panels.items(), strict=True):
        colors = colors_of(source.source for source in calibration.sources)
        for source in calibration.sources:
            curve, color = source.curve, colors[source.source]
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
    figure, all_axes = new_panels(len(calibrations))
    for axes, (title, calibration) in zip(all_axes, calibrations.items(), strict=True):
        axes.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color="#888888")
        colors = colors_of(source.source for source in calibration.sources)
        for source in calibration.sources:
            bins = source.reliability
            predicted, observed = _values(bins.predicted), _values(bins.observed)
            color = colors[source.source]
            axes.plot(predicted, observed, "o-", label=source.source, color=color, markersize=4)
        axes.set(title=title, xlabel="probability of silence given", xlim=(0, 1), ylim=(0, 1.01))
    all_axes[0].set_ylabel("share of frames silent in truth")
    all_axes[-1].legend(frameon=False)
    figure.tight_layout()
    return figure


def _values(values: Sequence[float | None]) -> list[float]:
    """As matplotlib takes them: NaN where there is none."""
    return [np.nan if value is None else value for value in values]
