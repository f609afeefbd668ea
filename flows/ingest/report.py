"""What a person sees of what was ingested: how much of what, and how it sounds."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from flows.reports.artifacts import PLAYER_S
from flows.reports.file_names import base_name
from flows.reports.markdown import plain
from flows.reports.plots import SIZE_IN, colors_of, slant_names
from flows.running.stage import StageRun
from storage.labelled.song import SPLITS
from storage.music_format import MIXTURE
from storage.reading import CropReader
from storage.tables.schemas import ACTIVITY, STEMS, TRACKS

PLAYERS = 2
PLAIN_COLOR = "#4c72b0"


def report_tracks(run: StageRun) -> None:
    """Put hours by format, lengths and players of unlabelled music into a run's report."""
    seconds: Counter[str] = Counter()
    minutes = []
    for row in run.manifests.rows(run.partition(TRACKS.name), ["source_url", "duration_s"]):
        seconds[PurePosixPath(row["source_url"]).suffix[1:].lower() or "none"] += row["duration_s"]
        minutes.append(row["duration_s"] / 60)
    if not minutes:
        return
    figure = Figure(figsize=SIZE_IN)
    formats, lengths = figure.subplots(1, 2)
    ordered = seconds.most_common(10)[::-1]
    unit, length_s = ("hours", 3600) if seconds.total() >= 3600 else ("minutes", 60)
    formats.barh([name for name, _ in ordered], [s / length_s for _, s in ordered],
                 color=PLAIN_COLOR)  # fmt: skip
    formats.set(xlabel=unit, title="by format")
    bins = min(40, 10 + len(minutes) // 5)
    lengths.hist(minutes, bins=bins, range=(0, 1.05 * max(minutes)), color=PLAIN_COLOR)
    lengths.set(xlabel="minutes", ylabel="tracks", title="by length")
    _finish(figure)
    run.report.plot("tracks", figure, "What was ingested")
    columns = ["track_id", "path", "source_url", "num_samples"]
    for row in islice(run.manifests.rows(run.partition(TRACKS.name), columns), PLAYERS):
        _play(run, row["track_id"], row["path"], row["num_samples"], base_name(row["source_url"]))


def report_songs(run: StageRun) -> None:
    """Put songs by split, how often each source is silent, and players into a run's report.

    A single stem of a library counts and plays as a song.
    """
    columns = ["track_id", "song", "split", "source", "path", "num_samples"]
    heard: dict[str, dict[str, Any]] = {}
    for row in run.manifests.rows(run.partition(STEMS.name), columns):
        if row["source"] == MIXTURE or row["track_id"] not in heard:
            heard[row["track_id"]] = row
    if not heard:
        return
    mixtures = list(heard.values())
    figure = Figure(figsize=SIZE_IN)
    songs, silent = figure.subplots(1, 2)
    count = Counter(row["split"] for row in mixtures)
    songs.bar(SPLITS, [count[split] for split in SPLITS], color=PLAIN_COLOR)
    songs.set(ylabel="songs", title="by split")
    share = _silent_share(run)
    colors = colors_of(share)
    silent.bar(list(share), [100 * value for value in share.values()], color=colors.values())
    slant_names(silent, share)
    silent.set(ylabel="% of the time", title="how long each source is silent")
    _finish(figure)
    run.report.plot("songs", figure, "What was ingested")
    for row in mixtures[:PLAYERS]:
        name = f"{row['song']} ({row['split']})"
        _play(run, row["track_id"], row["path"], row["num_samples"], name)


def _silent_share(run: StageRun) -> dict[str, float]:
    """Share of the frames in which each source is silent."""
    frames, active = Counter[str](), Counter[str]()
    for row in run.manifests.rows(run.partition(ACTIVITY.name), ["source", "active"]):
        frames[row["source"]] += len(row["active"])
        active[row["source"]] += int(np.sum(row["active"]))
    return {
        source: 1 - active[source] / max(1, frames[source])
        for source in run.workspace.music.sources
    }


def _play(run: StageRun, name: str, path: str, num_samples: int, caption: str) -> None:
    """The middle of a track."""
    sample_rate = run.workspace.music.sample_rate
    length = min(num_samples, round(PLAYER_S * sample_rate))
    audio = CropReader(run.workspace.location)(path, (num_samples - length) // 2, length)
    run.report.player(name, audio, sample_rate, plain(caption))


def _finish(figure: Figure) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
