"""Labelled songs → canonical stems and rows of ``stems``, ``activity`` and ``rejects``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fsspec import AbstractFileSystem

from demucs_core.activity import ActivityConfig
from flows.ingest.song_audio import Truth, song_audio
from flows.ingest.song_rows import activity_rows, write_stems
from flows.ingest.tracks import STAGE
from flows.inputs.forgotten import FORGOTTEN, forgotten
from flows.running.rejects import reject_row
from flows.running.stage import StageRun
from storage.canonical import Unusable
from storage.labelled.song import LabelledSong
from storage.workspace import Workspace


@dataclass(frozen=True)
class StemBatch:
    """Songs that one Dask task decodes; `rewrite` writes audio that is there already too."""

    workspace: Workspace
    corpus: str
    fs: AbstractFileSystem
    songs: Sequence[LabelledSong]
    min_duration_s: float
    activity: ActivityConfig
    truth: Truth
    rewrite: bool = False


@dataclass(frozen=True)
class SongOutcome:
    """What became of a batch: the items it covers, and rows for three manifests."""

    items: list[str]
    stems: list[dict[str, Any]]
    activity: list[dict[str, Any]]
    rejects: list[dict[str, Any]]


def song_item(song: LabelledSong) -> str:
    """Name of a song in a partition's items."""
    return f"{song.split}/{song.name}"


def ingest_songs(batch: StemBatch) -> SongOutcome:
    """Decode a batch of songs, write their stems, and measure where each sounds."""
    outcome = SongOutcome([song_item(song) for song in batch.songs], [], [], [])
    for song in batch.songs:
        try:
            stems, activity = _ingest_song(batch, song)
        except Unusable as problem:
            reject = reject_row(STAGE, song_item(song), problem.reason, problem.detail)
            outcome.rejects.append(reject)
            continue
        outcome.stems.extend(stems)
        outcome.activity.extend(activity)
    return outcome


def commit_songs(run: StageRun, outcome: SongOutcome) -> None:
    """Write what became of a batch; ``stems`` last, since they make the batch count as done."""
    gone = forgotten(run.manifests)
    stems, rejects, refused = [], list(outcome.rejects), set()
    for row in outcome.stems:
        if row["track_id"] in gone:
            refused.add(f"{row['split']}/{row['song']}")
            run.workspace.remove(row["path"])
        else:
            stems.append(row)
    rejects += [reject_row(STAGE, item, *FORGOTTEN) for item in sorted(refused)]
    activity = [row for row in outcome.activity if row["track_id"] not in gone]
    if rejects:
        run.manifests.write(run.partition("rejects"), outcome.items, rejects)
    run.manifests.write(run.partition("activity"), outcome.items, activity)
    run.manifests.write(run.partition("stems"), outcome.items, stems)
    run.count(new_songs=len(outcome.items) - len(rejects))


def _ingest_song(
    batch: StemBatch, song: LabelledSong
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    workspace = batch.workspace
    with song_audio(
        batch.fs, song, workspace.music, min_duration_s=batch.min_duration_s, truth=batch.truth
    ) as audio:
        stems = write_stems(workspace, batch.corpus, batch.fs, song, audio, rewrite=batch.rewrite)
        track_id = stems[0]["track_id"]
        return stems, activity_rows(workspace, track_id, song, audio, batch.activity)
