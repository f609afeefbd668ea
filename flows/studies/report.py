"""What a study leaves for people to read: one page of tables and plots, and its figures as JSON.

The page begins with the command that makes it again.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from flows.reports.ink import on_any_ground
from flows.running.parameters import Options, option_words

PLOT_DPI = 70
NONE_SHOWN = "-"

Row = Mapping[str, str | int | float | None]


class StudyReport:
    """The page of one study, made paragraph by paragraph; nothing is written before the end.

    Args:
        study: name of the study's command; the files are named after it.
        title: heading of the page.
        parameters: what the study was run with.
        output: folder for the files.
        command: name of the study's command, where the files are named otherwise.
        usual: the parameters that need not be told; the defaults unless given.
        given: options that are told all the same.
    """

    def __init__(
        self,
        study: str,
        title: str,
        parameters: Options,
        output: str,
        *,
        command: str = "",
        usual: Options | None = None,
        given: Mapping[str, str] | None = None,
    ) -> None:
        self.study, self.folder = study, Path(output)
        command = study_command(command or study, parameters, usual=usual, given=given)
        self._paragraphs = [f"# {title}", f"Made by:\n\n```sh\n{command}\n```"]
        self._figures: dict[str, Any] = {"command": command, "parameters": parameters.content()}
        self._plots: dict[Path, Figure] = {}

    def heading(self, title: str) -> None:
        """Begin a section."""
        self._paragraphs.append(f"## {title}")

    def text(self, markdown: str) -> None:
        """Add a paragraph."""
        self._paragraphs.append(markdown)

    def table(self, key: str, rows: Sequence[Row]) -> None:
        """Add a table, whose rows have the same columns; the JSON has them under ``key``.

        Numbers are shown with two decimals; NaN and infinity are a dash, and null in the JSON.
        """
        self._figures[key] = [
            {name: value if _is_there(value) else None for name, value in row.items()}
            for row in rows
        ]
        self._paragraphs.append(markdown_table(rows))

    def figures(self, key: str, values: Any) -> None:
        """Put values that JSON can hold into the JSON alone."""
        self._figures[key] = values

    def plot(self, key: str, figure: Figure, caption: str) -> None:
        """Add a plot, kept as ``<study>-<key>.png``."""
        path = self.folder / f"{self.study}-{key}.png"
        self._plots[path] = figure
        self._paragraphs.append(f"![{caption}]({path.name})\n\n{caption}")

    def write(self) -> list[Path]:
        """Write the page, the JSON and the plots; returns the files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        page, figures = (self.folder / f"{self.study}{suffix}" for suffix in (".md", ".json"))
        page.write_text("\n\n".join(self._paragraphs) + "\n", encoding="utf-8")
        figures.write_text(json.dumps(self._figures, indent=1) + "\n", encoding="utf-8")
        for path, figure in self._plots.items():
            on_any_ground(figure)
            figure.savefig(path, dpi=PLOT_DPI, bbox_inches="tight")
        return [page, figures, *self._plots]


def study_command(
    study: str,
    parameters: Options,
    *,
    usual: Options | None = None,
    given: Mapping[str, str] | None = None,
) -> str:
    """The command that makes a study again: the parameters that differ from the usual ones."""
    defaults = (usual or type(parameters)()).content()
    words = ["silentmix", "study", study]
    for name, told in (given or {}).items():
        words += option_words(name, told)
    for name, value in parameters.content().items():
        if value != defaults[name]:
            words += option_words(name, value)
    return shlex.join(words)


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows of the same columns as a table in markdown.

    >>> print(markdown_table([{"source": "bass", "minutes": 1.239}]))
    | source | minutes |
    | --- | --- |
    | bass | 1.24 |
    """
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([_shown(row[head]) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: str | int | float | None) -> str:
    if not _is_there(value):
        return NONE_SHOWN
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _is_there(value: str | int | float | None) -> bool:
    return value is not None and (isinstance(value, str) or math.isfinite(value))
