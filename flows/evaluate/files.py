"""The numbers of a comparison as CSV, for whoever wants to draw or test something else."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from demucs_core.metrics.comparison import Comparison
from flows.inputs.methods import COLUMNS, Method
from flows.inputs.songs import Song
from flows.reports.csv_text import cells
from storage.workspace import Workspace


def write_csv(
    workspace: Workspace,
    folder: str,
    methods: Sequence[Method],
    songs: Sequence[Song],
    comparisons: Mapping[str, Comparison],
    reference: str,
) -> None:
    """Write ``songs.csv``, a row a method, song and source; and ``differences.csv``.

    Args:
        workspace: where they go.
        folder: in it.
        methods: what is compared.
        songs: on what.
        comparisons: each method's, by name.
        reference: name of the method that they are compared to.
    """
    scores = [
        (
            method.name,
            song.name,
            source,
            *(method.scores[song.track_id].get(source, {}).get(column, "") for column in COLUMNS),
        )
        for method in methods
        for song in songs
        for source in workspace.music.sources
    ]
    _write(workspace, f"{folder}/songs.csv", ["method", "song", "source", *COLUMNS], scores)
    differences = [
        [
            name, reference, source, each.num_songs, each.median_db, each.low_db, each.high_db,
            each.p_value, each.shown,
        ]
        for name, comparison in comparisons.items()
        for source, each in zip(
            (*workspace.music.sources, "mean"), (*comparison.sources, comparison.mean), strict=True
        )
    ]  # fmt: skip
    headings = ["method", "reference", "source", "num_songs", "median_db", "low_db", "high_db"]
    headings += ["p_value", "shown"]
    if differences:
        _write(workspace, f"{folder}/differences.csv", headings, differences)


def _write(
    workspace: Workspace, path: str, headings: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(headings)
    writer.writerows(map(cells, rows))
    workspace.put_bytes(path, text.getvalue().encode())
