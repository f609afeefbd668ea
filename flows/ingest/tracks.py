"""Unlabelled files → canonical audio and rows of ``tracks`` and ``rejects``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from fsspec import AbstractFileSystem

from flows.ingest.measures import TrackMeasures
from flows.ingest.prints import hash_and_print, print_rows
from flows.ingest.refused import Refused
from flows.ingest.retiring import DUPLICATE, Owner, labelled_audio
from flows.ingest.source_files import Look, note_looks
from flows.inputs.forgotten import FORGOTTEN, forgotten
from flows.inputs.same_music import SameMusic, sounds_held_out
from flows.running.dividing import Divisible, halved
from flows.running.rejects import WORKER_DIED, reject_row
from flows.running.stage import StageRun
from storage.decoding.canonical import PreparedAudio, prepare
from storage.decoding.chunk import Unusable
from storage.decoding.prints import NO_ITEMS
from storage.finding.discovery import SourceFile
from storage.finding.lists import is_undecodable
from storage.music_format import MIXTURE
from storage.tables.schemas import DUPLICATES, MEASURES, PRINTS, TRACKS
from storage.workspace import Workspace, track_path

STAGE = "ingest"
ID_DIGITS = 20


@dataclass(frozen=True)
class TrackBatch(Divisible["Outcome"]):
    """Files that one Dask task decodes; ``rewrite`` writes audio that is there already too."""

    workspace: Workspace
    corpus: str
    fs: AbstractFileSystem
    files: Sequence[SourceFile]
    items: Sequence[str]
    min_file_s: float
    silence_db: float
    rewrite: bool = False

    def halves(self) -> Sequence[Self]:
        """Two batches of its files; none where it is one file."""
        both = zip(halved(self.files), halved(self.items), strict=True)
        return [replace(self, files=files, items=items) for files, items in both]

    def refused(self, detail: str) -> Outcome:
        """Its one file is a reject."""
        [file] = self.files
        reject = reject_row(STAGE, file.url, WORKER_DIED, detail, source_bytes=file.num_bytes)
        return Outcome([file], list(self.items), [], [reject])


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: the files and items it covers, and rows for four manifests."""

    files: list[SourceFile]
    items: list[str]
    rows: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    prints: list[dict[str, Any]] = field(default_factory=list)
    measures: list[dict[str, Any]] = field(default_factory=list)


def ingest_files(batch: TrackBatch) -> Outcome:
    """Decode a batch of files and write their canonical audio; one bad file stops no other."""
    outcome = Outcome(list(batch.files), list(batch.items), [], [])
    for file in batch.files:
        try:
            with prepare(
                batch.fs,
                file.path,
                sample_rate=batch.workspace.music.sample_rate,
                num_channels=batch.workspace.music.num_channels,
                min_duration_s=batch.min_file_s,
                silence_db=batch.silence_db,
                with_tags=True,
            ) as audio:
                _take_track(batch, file, audio, outcome)
        except Unusable as problem:
            detail = problem.detail
            if problem.reason == "missing" and is_undecodable(file.path):
                detail += "; the list is in an encoding that is not known, so save it as UTF-8"
            outcome.rejects.append(
                reject_row(STAGE, file.url, problem.reason, detail, source_bytes=file.num_bytes)
            )
    return outcome


def _take_track(
    batch: TrackBatch, file: SourceFile, audio: PreparedAudio, outcome: Outcome
) -> None:
    """Write canonical audio; add its rows of ``tracks``, ``prints`` and ``measures``."""
    measures = TrackMeasures(audio.sample_rate, audio.num_channels)
    content_hash, items = hash_and_print(audio, also=(measures.feed,))
    track_id = content_hash[:ID_DIGITS]
    path = track_path(batch.corpus, track_id)
    if batch.rewrite or not batch.workspace.exists(path):
        batch.workspace.put(path, audio.write_wav)
    row = {
        "track_id": track_id,
        "path": path,
        "source_url": file.url,
        "source_bytes": file.num_bytes,
        "num_samples": audio.num_samples,
        "sample_rate": audio.sample_rate,
        "duration_s": audio.duration_s,
        "peak": audio.peak,
        "gain_db": audio.gain_db,
        "level_db": audio.level_db,
        "truncated": audio.truncated,
        "content_hash": content_hash,
    }
    outcome.rows.append(row)
    outcome.prints.extend(print_rows(track_id, MIXTURE, items))
    outcome.measures.append(measures.row(track_id, audio.tags))


class TrackCommitter:
    """Writes batches in their order, so that of two equal files the first one always stays.

    Attributes:
        refused: what is rejected.
    """

    def __init__(self, run: StageRun) -> None:
        self._run = run
        self._owner = audio_elsewhere(run)
        self._held_out = sounds_held_out(run.manifests)
        self._forgotten = forgotten(run.manifests)
        self.refused = Refused(run)
        # what another run made of this corpus, with other parameters, is no duplicate but kept
        self._kept: set[str] = set()
        # where the rows of tracks were lost alone, these are there already
        self._beside = {
            table.name: {
                row["track_id"]
                for row in run.manifests.rows(run.partition(table.name), ["track_id"], retired=True)
            }
            for table in (PRINTS, MEASURES)
        }
        self._urls: dict[str, str] = {}
        for partition in run.manifests.partitions(TRACKS.name, run.corpus):
            for row in run.manifests.rows(
                partition, ["content_hash", "path", "source_url"], retired=True
            ):
                self._kept.add(row["path"])
                if partition == run.partition(TRACKS.name):
                    self._urls[row["content_hash"]] = row["source_url"]

    @property
    def compared_with(self) -> str:
        """The name of the songs held out that the tracks are compared with."""
        return self._held_out.name

    def commit(self, outcome: Outcome) -> None:
        """Sort duplicates out, then write the rejects and, last, the tracks."""
        rows, rejects, similar = [], list(outcome.rejects), []
        prints = {row["track_id"]: row for row in outcome.prints}
        for row in outcome.rows:
            owner, url = self._owner.get(row["content_hash"]), row["source_url"]
            known = self._urls.get(row["content_hash"])
            if row["track_id"] in self._forgotten:
                rejects.append(reject_row(STAGE, url, *FORGOTTEN, source_bytes=row["source_bytes"]))
                self._run.workspace.remove(row["path"])
            elif owner is not None:
                rejects.append(_same_audio(row, owner.reason, owner.name))
                if row["path"] not in self._kept:
                    self._run.workspace.remove(row["path"])
            elif known is None:
                items = prints[row["track_id"]]["items"] if row["track_id"] in prints else NO_ITEMS
                same = self._held_out.find(items)
                if same is not None:
                    similar.append(same.row(row["track_id"], len(items)))
                    rejects.append(_same_music(row, same))
                    if row["path"] not in self._kept:
                        self._run.workspace.remove(row["path"])
                    continue
                self._urls[row["content_hash"]] = url
                rows.append(row)
            elif known != url:  # and if it is, its tags have changed and its music has not
                rejects.append(_same_audio(row, DUPLICATE, f"file {known}"))
        manifests = self._run.manifests
        self.refused.write(outcome.items, rejects)
        note_looks(self._run, _looks(outcome, rejects), outcome.items)
        if similar:
            manifests.write(self._run.partition(DUPLICATES.name), outcome.items, similar)
        kept = {row["track_id"] for row in rows}
        for table, made in ((PRINTS, outcome.prints), (MEASURES, outcome.measures)):
            new = kept - self._beside[table.name]
            # of two files with the same audio the first one's
            found = {row["track_id"]: row for row in reversed(made) if row["track_id"] in new}
            self._beside[table.name] |= found.keys()
            if found:
                manifests.write(self._run.partition(table.name), outcome.items, [*found.values()])
        manifests.write(self._run.partition(TRACKS.name), outcome.items, rows)
        self._run.count(new_tracks=len(rows), new_rejected=len(rejects))


def _looks(outcome: Outcome, rejects: Sequence[dict[str, Any]]) -> Iterator[Look]:
    """What each file of a batch was found to be."""
    track_ids = {row["source_url"]: row["track_id"] for row in outcome.rows}
    reasons = {row["item"]: row["reason"] for row in rejects}
    for file, item in zip(outcome.files, outcome.items, strict=True):
        reason = reasons.get(file.url, "")
        yield Look(
            source_url=file.url,
            source_bytes=file.num_bytes,
            stamp=file.stamp,
            item=item,
            track_id=track_ids.get(file.url, "") if reason != FORGOTTEN[0] else "",
            reason=reason,
        )


def _same_audio(row: dict[str, Any], reason: str, owner: str) -> dict[str, Any]:
    detail = f"same audio as {owner}"
    return reject_row(STAGE, row["source_url"], reason, detail, source_bytes=row["source_bytes"])


def _same_music(row: dict[str, Any], same: SameMusic) -> dict[str, Any]:
    detail = f"the same music in other sound: {same}"
    return reject_row(
        STAGE, row["source_url"], same.reason, detail, source_bytes=row["source_bytes"]
    )


def audio_elsewhere(run: StageRun) -> dict[str, Owner]:
    """Every content hash in other corpora of the workspace, and whose it is."""
    known = {
        row["content_hash"]: Owner(
            DUPLICATE, f"track of corpus {partition.corpus}, {row['source_url']}"
        )
        for partition in run.manifests.partitions(TRACKS.name)
        if partition.corpus != run.corpus
        for row in run.manifests.rows(partition, ["content_hash", "source_url"])
    }
    return known | labelled_audio(run.manifests)
