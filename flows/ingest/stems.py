"""Labelled songs → canonical stems and rows of ``stems``, ``activity`` and ``rejects``."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Self

from fsspec import AbstractFileSystem

from demucs_core.activity import ActivityConfig
from flows.ingest.current_songs import last_files, note_files
from flows.ingest.options import Truth
from flows.ingest.refused import Refused
from flows.ingest.song_audio import song_audio
from flows.ingest.song_rows import activity_rows, write_stems
from flows.ingest.track_rows import STAGE
from flows.inputs.forgotten import FORGOTTEN, forgotten
from flows.running.dividing import Divisible, halved
from flows.running.rejects import WORKER_DIED, reject_row
from flows.running.stage import StageRun
from storage.decoding.chunk import Unusable
from storage.labelled.song import LabelledSong
from storage.tables.schemas import ACTIVITY, PRINTS, STEMS
from storage.workspace import Workspace


@dataclass(frozen=True)
class StemBatch(Divisible["SongOutcome"]):
    """Songs that one Dask task decodes; ``rewrite`` writes audio that is there already too."""

    workspace: Workspace
    corpus: str
    fs: AbstractFileSystem
    songs: Sequence[LabelledSong]
    min_file_s: float
    activity: ActivityConfig
    truth: Truth
    rewrite: bool = False
    again: str = ""

    def halves(self) -> Sequence[Self]:
        """Two batches of its songs; none where it is one song."""
        return [replace(self, songs=songs) for songs in halved(self.songs)]

    def refused(self, detail: str) -> SongOutcome:
        """Its one song is a reject."""
        [song] = self.songs
        reject = reject_row(STAGE, _place(song), WORKER_DIED, detail)
        seen = (song.split, song.name, song.identity, "")
        return SongOutcome(self.items(), [seen], [], [], [reject], [])

    def items(self) -> list[str]:
        """What its parts cover."""
        # the part of an earlier look at the same songs is there, and none of its name is written
        again = [f"again|{self.again}"] if self.again else []
        return [*map(song_item, self.songs), *again]


@dataclass(frozen=True)
class SongOutcome:
    """What became of a batch: the items it covers, what its files were, rows for four manifests.

    Attributes:
        seen: split, name and identity of each song, and its ``track_id`` or nothing.
    """

    items: list[str]
    seen: list[tuple[str, str, str, str]]
    stems: list[dict[str, Any]]
    activity: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    prints: list[dict[str, Any]]


def song_item(song: LabelledSong) -> str:
    """Name of a song in a partition's items: a song whose files have changed is another."""
    return f"{_place(song)}|{song.identity}"


def _place(song: LabelledSong) -> str:
    return f"{song.split}/{song.name}"


def songs_done(
    run: StageRun,
    songs: Sequence[LabelledSong],
    retry: bool = False,
    gone: Set[str] = frozenset(),
) -> set[str]:
    """The items of the songs that need not be looked at: they were, and have not changed since.

    With ``retry`` those that could not be used are to be looked at again, and those whose audio is
    ``gone`` always.

    Of songs ingested by 0.1.0 nobody knows the files: they are done, unless the run is forced.
    """
    stems = run.partition(STEMS.name)
    done = run.done(stems, {song_item(song) for song in songs}, "activity", "rejects", PRINTS.name)
    files = last_files(run.manifests, run.corpus)
    named = {
        (row["split"], row["song"])
        for row in run.manifests.rows(stems, ["split", "song"], retired=True)
    }
    found = set()
    for song in songs:
        place = song.split, song.name
        if place in files:
            is_done = song_item(song) in done and files[place].identity == song.identity
            is_done &= bool(files[place].track_id) or not retry
        else:
            is_done = _place(song) in done and place in named and not run.force
        if is_done and _place(song) not in gone:
            found.add(song_item(song))
    return found


def ingest_songs(batch: StemBatch) -> SongOutcome:
    """Decode a batch of songs, write their stems, and measure where each sounds."""
    outcome = SongOutcome(batch.items(), [], [], [], [], [])
    for song in batch.songs:
        track_id = ""
        try:
            stems, activity, prints = _ingest_song(batch, song)
        except Unusable as problem:
            reject = reject_row(STAGE, _place(song), problem.reason, problem.detail)
            outcome.rejects.append(reject)
        else:
            track_id = stems[0]["track_id"]
            outcome.stems.extend(stems)
            outcome.activity.extend(activity)
            outcome.prints.extend(prints)
        outcome.seen.append((song.split, song.name, song.identity, track_id))
    return outcome


class SongCommitter:
    """Writes batches; the rows of a song that comes back are there already and stay as they are.

    Attributes:
        refused: what is rejected.
    """

    def __init__(self, run: StageRun) -> None:
        self._run = run
        self._forgotten = forgotten(run.manifests)
        self.refused = Refused(run)
        columns = ["track_id", "split", "song"]
        self._songs: set[tuple[str, ...]] = {
            tuple(row.values())
            for row in run.manifests.rows(run.partition(STEMS.name), columns, retired=True)
        }
        self._activity: set[tuple[str, ...]] = {
            tuple(row.values())
            for row in run.manifests.rows(run.partition(ACTIVITY.name), columns[:2], retired=True)
        }
        self._prints: set[tuple[str, ...]] = {
            tuple(row.values())
            for row in run.manifests.rows(run.partition(PRINTS.name), ["track_id", "source"])
        }

    def commit(self, outcome: SongOutcome) -> None:
        """Write what became of a batch; ``stems`` last: they make the batch count as done."""
        run, gone = self._run, self._forgotten
        refused = {f"{row['split']}/{row['song']}" for row in outcome.stems
                   if row["track_id"] in gone}  # fmt: skip
        for row in outcome.stems:
            if row["track_id"] in gone:
                run.workspace.remove(row["path"])
        rejects = [
            *outcome.rejects,
            *(reject_row(STAGE, item, *FORGOTTEN) for item in sorted(refused)),
        ]
        stems = _new(outcome.stems, ("track_id", "split", "song"), self._songs, gone)
        activity = _new(outcome.activity, ("track_id", "split"), self._activity, gone)
        self.refused.write(outcome.items, rejects)
        run.manifests.write(run.partition(ACTIVITY.name), outcome.items, activity)
        prints = _new(outcome.prints, ("track_id", "source"), self._prints, gone)
        if prints:
            run.manifests.write(run.partition(PRINTS.name), outcome.items, prints)
        note_files(
            run,
            (
                (split, song, identity, "" if track_id in gone else track_id)
                for split, song, identity, track_id in outcome.seen
            ),
        )
        run.manifests.write(run.partition(STEMS.name), outcome.items, stems)
        run.count(new_songs=len(outcome.seen) - len(rejects))


def _new(
    rows: Sequence[dict[str, Any]],
    key: tuple[str, ...],
    known: set[tuple[str, ...]],
    forgotten: Set[str],
) -> list[dict[str, Any]]:
    """The rows that are to be written; from now on they are known."""
    new = [
        row
        for row in rows
        if row["track_id"] not in forgotten and tuple(row[name] for name in key) not in known
    ]
    known.update(tuple(row[name] for name in key) for row in new)
    return new


def _ingest_song(
    batch: StemBatch, song: LabelledSong
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """A song's rows of ``stems``, ``activity`` and ``prints``."""
    workspace = batch.workspace
    with song_audio(
        batch.fs, song, workspace.music, min_duration_s=batch.min_file_s, truth=batch.truth
    ) as audio:
        stems, prints = write_stems(
            workspace, batch.corpus, batch.fs, song, audio, rewrite=batch.rewrite
        )
        track_id = stems[0]["track_id"]
        return stems, activity_rows(workspace, track_id, song, audio, batch.activity), prints
