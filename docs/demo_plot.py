"""Draw the README's plot from finished demos: what remixes gave each test song, demo by demo.

python docs/demo_plot.py WORKSPACE…
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

IMAGES = Path(__file__).parent / "images"
THEMES = {"light": "#24292f", "dark": "#e6edf3"}
LOWEST_DB = -2.0
"""Songs below are drawn here, as a triangle."""


def main(workspaces: list[str]) -> None:
    """Write ``images/demo-light.png`` and ``images/demo-dark.png``."""
    found = [differences(Path(workspace)) for workspace in workspaces]
    for theme, ink in THEMES.items():
        draw(found, ink).savefig(IMAGES / f"demo-{theme}.png", dpi=120, transparent=True)


def differences(workspace: Path) -> list[float]:
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


def draw(found: list[list[float]], ink: str) -> Figure:
    """A column a demo: a dot a song, and their median."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=ink, linewidth=0.8)
    for column, gains in enumerate(found):
        values, median = np.asarray(gains), float(np.median(gains))
        beside = column + np.linspace(-0.22, 0.22, len(values))
        low = values < LOWEST_DB
        axes.scatter(beside[~low], values[~low], s=16, color="#4c72b0", alpha=0.7, linewidths=0)
        axes.scatter(beside[low], [LOWEST_DB] * sum(low), s=24, color="#4c72b0", marker="v")
        axes.hlines(median, column - 0.3, column + 0.3, color="#dd8452", linewidth=2.5)
        axes.text(column + 0.32, median, f"{median:+.2f}", color=ink, va="center")
    axes.set_xticks(range(len(found)), [f"demo {place + 1}" for place in range(len(found))])
    axes.set_ylabel("dB of SDR gained", color=ink)
    axes.tick_params(colors=ink)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(ink)
    return figure


if __name__ == "__main__":
    main(sys.argv[1:])
