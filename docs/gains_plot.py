"""Draw the README's plot: what remixes gave each test song of the study, and of finished demos.

python docs/gains_plot.py WORKSPACE…
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

IMAGES = Path(__file__).parent / "images"
STUDY = Path(__file__).parent / "studies/paper-scores.parquet"
LABELLED_ARM, REMIXES_ARM = "3", "12"
THEMES = {"light": "#24292f", "dark": "#e6edf3"}
LOWEST_DB = -2.0
"""Songs below are drawn here, as a triangle."""


def main(workspaces: list[str]) -> None:
    """Write ``images/gains-light.png`` and ``images/gains-dark.png``."""
    study, demos = gains_of_study(), [gains_of_demo(Path(each)) for each in workspaces]
    columns = {"study\nmean": (study, float(np.mean(study)))}
    for number, gains in enumerate(demos, 1):
        columns[f"demo {number}\nmedian"] = (gains, float(np.median(gains)))
    for theme, ink in THEMES.items():
        draw(columns, ink).savefig(IMAGES / f"gains-{theme}.png", dpi=120, transparent=True)


def gains_of_study() -> list[float]:
    """What remixes gave each test song: dB, mean over the sources and the seeds."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in pq.read_table(STUDY).to_pylist():
        if not row["curve"]:
            scores[row["arm"]][row["song"]].append(row["sdr_db"])
    alone, remixes = scores[LABELLED_ARM], scores[REMIXES_ARM]
    return [float(np.mean(remixes[song]) - np.mean(alone[song])) for song in sorted(alone)]


def gains_of_demo(workspace: Path) -> list[float]:
    """What remixes gave each test song over labelled songs alone: dB, mean over the sources."""
    folder = max(
        (workspace / "reports").glob("comparison-*"), key=lambda path: path.stat().st_mtime
    )
    alone, remixes, *_ = (
        method["name"] for method in json.loads((folder / "comparison.json").read_text())["methods"]
    )
    scores: dict[tuple[str, str], list[float]] = {}
    with (folder / "songs.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            scores.setdefault((row["method"], row["song"]), []).append(float(row["sdr_db"]))
    songs = sorted(song for method, song in scores if method == alone)
    return [float(np.mean(scores[remixes, song]) - np.mean(scores[alone, song])) for song in songs]


def draw(columns: dict[str, tuple[list[float], float]], ink: str) -> Figure:
    """A column for each, with a dot a song and a line at their mean or median."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=ink, linewidth=0.8)
    for column, (gains, middle) in enumerate(columns.values()):
        values = np.asarray(gains)
        beside = column + np.linspace(-0.22, 0.22, len(values))
        low = values < LOWEST_DB
        axes.scatter(beside[~low], values[~low], s=16, color="#4c72b0", alpha=0.7, linewidths=0)
        axes.scatter(beside[low], [LOWEST_DB] * sum(low), s=24, color="#4c72b0", marker="v")
        axes.hlines(middle, column - 0.3, column + 0.3, color="#dd8452", linewidth=2.5)
    names = [f"{name} {middle:+.2f}" for name, (_, middle) in columns.items()]
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("dB of SDR gained", color=ink)
    axes.tick_params(colors=ink)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(ink)
    return figure


if __name__ == "__main__":
    main(sys.argv[1:])
