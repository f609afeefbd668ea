"""Cells of CSV files that are texts, also where a spreadsheet opens them."""

from __future__ import annotations

from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes the rest of a cell for a formula after."""


def cells(row: Iterable[object]) -> list[object]:
    """A row for a CSV file: texts that would be formulas have an apostrophe before them.

    >>> cells(["=HYPERLINK(1)", "Song", -1.5])
    ["'=HYPERLINK(1)", 'Song', -1.5]
    """
    return [
        f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in row
    ]
