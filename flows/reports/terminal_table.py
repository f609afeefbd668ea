"""A table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from storage.printable import shown

MAX_CELL = 60
UNLIMITED_WIDTH = 1_000_000


def print_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table that fits the terminal; whole where there is none, since a program may read it."""
    cut = console.is_terminal
    if not cut:
        console = Console(file=console.file, width=UNLIMITED_WIDTH)
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(Text(_cell(heading, cut)))
    for row in rows:
        table.add_row(*(Text(_cell(value, cut)) for value in row))
    console.print(table)


def _cell(value: Any, cut: bool) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    text = shown(text)  # a name may hold what moves the cursor or sets the window's title
    return text if len(text) <= MAX_CELL or not cut else f"{text[: MAX_CELL - 1]}…"
