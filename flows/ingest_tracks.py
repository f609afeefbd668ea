"""Unlabelled files → canonical audio and rows of ``tracks`` and ``rejects``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fsspec import AbstractFileSystem

from demucs_core import SAMPLE_RATE
from flows.stage import StageRun
from storage.canonical import PreparedAudio, Unusable, prepare
from storage.discovery import SourceFile
from storage.schemas import REJECTS, STEMS, TRACKS
from storage.workspace import Workspace

STAGE = "ingest"
ID_DIGITS = 20


@dataclass(frozen=True)
class TrackBatch:
    """Files that one Dask task decodes."""

    workspace: Workspace
    corpus: str
    fs: AbstractFileSystem
    files: Sequence[SourceFile]
    min_duration_s: float
    silence_db: float


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: rows for two manifests."""

    rows: list[dict[str, Any]]
    rejects: list[dict[str, Any]]


def file_item(file: SourceFile) -> str:
    """Name of a file in a partition's items: a file that has changed its size is another."""
    return f"{file.url}|{file.num_bytes}"


def ingest_files(batch: TrackBatch) -> Outcome:
    """Decode a batch of files and write their canonical audio; one bad file stops no other."""
    outcome = Outcome([], [])
    for file in batch.files:
        try:
            with prepare(
                batch.fs,
                file.path,
                sample_rate=SAMPLE_RATE,
                min_duration_s=batch.min_duration_s,
                silence_db=batch.silence_db,
            ) as audio:
                outcome.rows.append(_write_track(batch, file, audio))
        except Unusable as problem:
            outcome.rejects.append(
                reject_row(file.url, file.num_bytes, problem.reason, problem.detail)
            )
    return outcome


def _write_track(batch: TrackBatch, file: SourceFile, audio: PreparedAudio) -> dict[str, Any]:
    content_hash = audio.content_hash()
    track_id = content_hash[:ID_DIGITS]
    # two levels of folders, since a corpus may hold a hundred thousand tracks
    path = f"audio/{batch.corpus}/{track_id[:2]}/{track_id}.wav"
    if not batch.workspace.exists(path):
        batch.workspace.put(path, audio.write_wav)
    return {
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


def reject_row(item: str, num_bytes: int, reason: str, detail: str) -> dict[str, Any]:
    """A row of ``rejects``."""
    return {
        "stage": STAGE,
        "item": item,
        "source_bytes": max(num_bytes, 0),
        "reason": reason,
        "detail": detail,
    }


class TrackCommitter:
    """Writes batches in their order, so that of two equal files the first one always stays."""

    def __init__(self, run: StageRun) -> None:
        self._run = run
        self._known = known_audio(run)

    def commit(self, batch: TrackBatch, outcome: Outcome) -> None:
        """Sort duplicates out, then write the rejects and, last, the tracks."""
        rows, rejects = [], list(outcome.rejects)
        for row in outcome.rows:
            owner = self._known.setdefault(row["content_hash"], f"file {row['source_url']}")
            if owner == f"file {row['source_url']}":
                rows.append(row)
                continue
            reason = "labelled_test" if owner.startswith("labelled test") else "duplicate"
            detail = f"same audio as {owner}"
            rejects.append(reject_row(row["source_url"], row["source_bytes"], reason, detail))
            if not owner.startswith("file"):
                self._run.workspace.remove(row["path"])
        items = [file_item(file) for file in batch.files]
        manifests = self._run.manifests
        if rejects:
            manifests.write(self._run.partition(REJECTS.name), items, rejects)
        manifests.write(self._run.partition(TRACKS.name), items, rows)
        self._run.count(new_tracks=len(rows), new_rejected=len(rejects))


def known_audio(run: StageRun) -> dict[str, str]:
    """Every content hash in the workspace, and whose it is."""
    known: dict[str, str] = {}
    for partition in run.manifests.partitions(TRACKS.name):
        mine = partition == run.partition(TRACKS.name)
        for row in run.manifests.rows(partition, ["content_hash", "source_url"]):
            owner = "file" if mine else f"track of corpus {partition.corpus},"
            known[row["content_hash"]] = f"{owner} {row['source_url']}"
    for partition in run.manifests.partitions(STEMS.name):
        for row in run.manifests.rows(partition, ["content_hash", "song", "split", "source"]):
            song = f"labelled {row['split']} song {row['song']} ({row['source']})"
            known[row["content_hash"]] = song
    return known
