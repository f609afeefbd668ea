"""A plot is read on a light page and on a dark one."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from flows.reports.ink import INK, on_any_ground

GROUNDS = {"V1 and V2, light": "#ffffff", "V1, dark": "#131519", "V2, dark": "#26272b"}
READABLE = 3.0
"""The least contrast of large text and of what a plot is drawn with, after WCAG 2."""


def luminance(color: str) -> float:
    """Relative luminance, after WCAG 2."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_the_grey_is_read(ground: str) -> None:
    dark, light = sorted([luminance(ground), luminance(INK)])
    assert (light + 0.05) / (dark + 0.05) >= READABLE


def test_nothing_is_black_and_the_ground_shows_through() -> None:
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.boxplot([[1, 2, 3]])
    axes.plot([1], [2], "o", color="#222222", label="a")
    axes.axhline(1, color="#dd8452", label="b")
    axes.bar([1], [1], color="#4c72b0", edgecolor="black")
    axes.set(title="title", xlabel="x", ylabel="y")
    axes.legend()
    on_any_ground(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    pixels = matplotlib.image.imread(file)
    drawn = pixels[pixels[..., 3] > 0.9]
    assert np.median(pixels[..., 3]) == 0
    assert len(drawn)
    assert drawn[:, :3].max(axis=1).min() > 0.3
    assert any(np.allclose(pixel, to_rgb("#dd8452"), atol=0.01) for pixel in drawn[:, :3])
