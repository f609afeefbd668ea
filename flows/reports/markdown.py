"""Markdown as the Prefect UI renders it: texts that stay what they are, and tables."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence

from storage.printable import shown

SPECIAL = re.compile(r"([\\`*_{}\[\]|~#])")
LONGEST = 120


def plain(text: str, longest: int | None = LONGEST) -> str:
    r"""Any text, such as a file's name, so that it is shown as it is; cut where it is longer.

    >>> plain("a_b|<c>")
    'a\\_b\\|&lt;c&gt;'
    >>> plain("Don't #1")
    'Don&#x27;t \\#1'
    >>> plain(chr(27) + "[2J")
    '\\\\x1b\\[2J'
    """
    line = shown(" ".join(text.split()))  # a terminal may show it too
    if longest is not None and len(line) > longest:
        line = f"{line[: longest - 1]}…"
    return _escaped(line)


def sentence(text: str) -> str:
    r"""A sentence of ours with whatever names in it, as :func:`plain`, but commands as code.

    What stands between backticks is code, whoever put them there, and nothing else in it.

    >>> sentence("a_b is gone")
    'a\\_b is gone'
    """
    parts = re.split(r"(`[^`]+`)", shown(" ".join(text.split())))
    return "".join(part if place % 2 else _escaped(part) for place, part in enumerate(parts))


def _escaped(line: str) -> str:
    # the other way round, the # of an entity would be escaped, and the entity be none
    return html.escape(SPECIAL.sub(r"\\\1", line))


def number(value: float) -> str:
    """A count or a measure, to four digits behind which there is more.

    >>> [number(value) for value in (1234567, 0.98765, 12.0)]
    ['1,234,567', '0.9877', '12']
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table of rows that have the same columns; cells are markdown.

    >>> print(table([{"reason": "silent", "files": "2"}]))
    | reason | files |
    |---|---|
    | silent | 2 |
    """
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    text = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([text[0], f"|{'---|' * len(lines[0])}", *text[1:]])


def data_uri(kind: str, content: bytes) -> str:
    """Bytes as the address of themselves, for a page that holds all it shows."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
