"""The plots of the study: the table, convergence, curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from demucs_core.metrics.medians import median_sdr
from demucs_core.metrics.seeded_comparison import mean_interval
from flows.reports.plots import COLORS, SIZE_IN, grid_of
from flows.studies.paper.arms import ARMS
from flows.studies.paper.curves import curves_of
from flows.studies.paper.findings import Found, PaperFindings, arm_figures
from flows.studies.paper.parameters import PaperParameters

COLOR_OF = dict(zip(sorted(ARMS, key=int), COLORS, strict=False))


def table_figure(findings: PaperFindings) -> Figure:
    """Each seed of each arm that was scored, and the mean of the seeds."""
    figure = Figure(figsize=SIZE_IN)
    axes = figure.subplots()
    keys = [key for key in sorted(ARMS, key=int, reverse=True) if findings.scored(key)]
    for place, key in enumerate(keys):
        means = arm_figures(findings.scored(key))[:, -1]
        axes.plot(means, [place] * len(means), "o", color=COLOR_OF[key], alpha=0.5)
        axes.plot(means.mean(), place, "|", color=COLOR_OF[key], markersize=18, markeredgewidth=2)
    axes.set_yticks(range(len(keys)), [f"{key}  {ARMS[key].name}" for key in keys], fontsize=8)
    axes.set_xlabel("SDR (dB): medians over songs, mean over sources")
    axes.margins(y=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def convergence_figure(findings: PaperFindings) -> Figure:
    """Mean SDR on the validation crops over the steps, a line a seed."""
    figure = Figure(figsize=SIZE_IN)
    axes = figure.subplots()
    named = set()
    for each in findings.found:
        key, history = each.training.arm.key, each.state.history
        if not any(entry.sdr_db for entry in history):
            continue
        axes.plot(
            [entry.step for entry in history],
            [entry.mean_sdr_db for entry in history],
            color=COLOR_OF[key],
            alpha=0.7,
            linewidth=1,
            label="_" if key in named else f"{key}  {each.training.arm.name}",
        )
        named.add(key)
    axes.set(xlabel="step", ylabel="validation SDR (dB)")
    axes.legend(frameon=False, fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def curve_figure(parameters: PaperParameters, findings: PaperFindings) -> Figure:
    """The arms of each curve over its parameter, with intervals over the seeds."""
    there = {point.curve for point in findings.points}
    curves = [curve for curve in curves_of(parameters) if curve.field in there]
    figure, panels = grid_of(len(curves))
    for panel, curve in zip(panels, curves, strict=False):
        points = [point for point in findings.points if point.curve == curve.field]
        for key in curve.arms:
            drawn = [
                (point.value, means) for point in points if len(means := _means(point.found, key))
            ]
            if not drawn:
                continue
            center = np.array([means.mean() for _, means in drawn])
            ends = np.array([mean_interval(means) for _, means in drawn]).T
            reach = np.nan_to_num(np.abs(ends - center))
            panel.errorbar(
                [value for value, _ in drawn], center, yerr=reach, marker="o", markersize=4,
                color=COLOR_OF[key], capsize=2, label=f"arm {key}",
            )  # fmt: skip
        if "3" not in curve.arms and len(alone := _means(findings.found, "3")):
            # what none of it gives: no unlabelled songs, no remixes
            panel.axhline(
                alone.mean(), color=COLOR_OF["3"], linestyle=":", linewidth=1, label="arm 3"
            )
        panel.set(xlabel=curve.title, ylabel="SDR (dB)")
        if curve.field.endswith("songs") or curve.field == "steps":
            panel.set_xscale("log")
        panel.legend(frameon=False, fontsize=7)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    figure.tight_layout()
    return figure


def _means(found: Sequence[Found], arm: str) -> np.ndarray:
    return np.array(
        [
            median_sdr(each.sdr_ns)[-1]
            for each in found
            if each.training.arm.key == arm and each.sdr_ns is not None
        ]
    )
