"""Plots for light pages and dark ones: they have no ground, and what would be black is grey."""

from __future__ import annotations

from typing import Any

import matplotlib.figure
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

INK = "#7d838c"
"""Between black and white: on either, its contrast is about 4 to 1."""

DARKEST = 0.25
"""What is no lighter than this, of 1, is black or nearly so, and can't be seen on a dark page."""


def on_any_ground(figure: matplotlib.figure.Figure) -> None:
    """Take a figure's ground away, and draw what is black in grey."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
        if (legend := axes.get_legend()) is not None:
            legend.get_frame().set_visible(False)
    for artist in figure.findobj():
        if isinstance(artist, Text | Line2D) and _is_black(artist.get_color()):
            artist.set_color(INK)
        if isinstance(artist, Line2D) and _is_black(artist.get_markeredgecolor()):
            artist.set_markeredgecolor(INK)
        if isinstance(artist, Patch) and _is_black(artist.get_edgecolor()):
            artist.set_edgecolor(INK)


def _is_black(color: Any) -> bool:
    return max(to_rgb(color)) <= DARKEST
