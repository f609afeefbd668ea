"""What a comparison found, as values, and how it is put into words and tables."""

from __future__ import annotations

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Figures(BaseModel):
    """One method's figures in dB; None where there are none.

    Attributes:
        name: of the method.
        label: what a person calls it.
        sdr_db: by source, and their mean: median over songs of the median over frames.
        song_sdr_db: the same, mean over songs of the whole-song ratio.
        num_songs: that have a score of a source, by source.
    """

    name: str
    label: str
    sdr_db: dict[str, float | None]
    song_sdr_db: dict[str, float | None]
    num_songs: dict[str, int]


class Verdict(BaseModel):
    """What the songs show of one method against the reference, for a source or the mean."""

    method: str
    source: str
    num_songs: int
    median_db: float | None
    low_db: float | None
    high_db: float | None
    p_value: float | None
    shown: bool
    sentence: str


class ComparisonSummary(BaseModel):
    """A comparison, ready to be printed."""

    corpus: str
    num_songs: int
    methods: list[Figures]
    reference: str
    verdicts: list[Verdict]
    notes: list[str]
    folder: str


def table_rows(summary: ComparisonSummary) -> list[dict[str, str]]:
    """The table a paper prints, a row a method, in dB; where a source has fewer songs, how many."""

    def cell(each: Figures, source: str) -> str:
        num_songs = each.num_songs.get(source, summary.num_songs)
        fewer = f" ({num_songs})" if num_songs < summary.num_songs else ""
        return _decibels(each.sdr_db[source]) + fewer

    return [
        {
            "method": each.label,
            **{name: cell(each, name) for name in each.sdr_db},
            "whole song": _decibels(each.song_sdr_db["mean"]),
        }
        for each in summary.methods
    ]


def over_songs(summary: ComparisonSummary) -> str:
    """What the medians are over, for a title."""
    songs = f"{summary.num_songs} song{'s' if summary.num_songs != 1 else ''}"
    counts = [count for each in summary.methods for count in each.num_songs.values()]
    if min(counts, default=summary.num_songs) == summary.num_songs:
        return songs
    return f"{songs} (in brackets: of a source that is silent in some, how many have it)"


def verdict_lines(summary: ComparisonSummary) -> list[str]:
    """What the songs show of each method against the reference, in the mean over sources."""
    label = labels(summary)
    return [
        f"{label[verdict.method]} against {label[summary.reference]}, mean over sources: "
        f"{verdict.sentence}"
        for verdict in summary.verdicts
        if verdict.source == "mean"
    ]


def print_comparison(summary: ComparisonSummary, location: str, console: Console) -> None:
    """Print the table, then what the songs show, source by source."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = f"SDR in dB of {summary.corpus}, median over {over_songs(summary)}"
    rows = table_rows(summary)
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in rows:
        table.add_row(*map(escape, row.values()))
    console.print(table)
    label = labels(summary)
    method, width = "", max((len(verdict.source) for verdict in summary.verdicts), default=0)
    for verdict in summary.verdicts:
        if verdict.method != method:
            method = verdict.method
            _print(console, f"{label[method]} against {label[summary.reference]}:")
        _print(console, f"  {verdict.source:<{width + 1}}{verdict.sentence}")
    for note in summary.notes:
        _print(console, f"note: {note}")
    _print(console, f"tables, plots and sounds: {location}/{summary.folder}")


def labels(summary: ComparisonSummary) -> dict[str, str]:
    """What a person calls each method, by name."""
    return {each.name: each.label for each in summary.methods}


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
