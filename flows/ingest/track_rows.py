"""Unlabelled files → canonical audio and rows: what a Dask task does.

A worker imports this alone: what runs the flow would take it two seconds more to start.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

from fsspec import AbstractFileSystem

from demucs_core.ahead import ahead
from flows.ingest.measures import TrackMeasures
from flows.ingest.prints import hash_and_print, print_rows
from flows.running.dividing import Divisible, halved
from flows.running.rejects import WORKER_DIED, reject_row
from storage.decoding.canonical import PreparedAudio, prepare
from storage.decoding.chunk import Unusable
from storage.finding.discovery import SourceFile
from storage.finding.lists import is_undecodable
from storage.fingerprint import ID_DIGITS
from storage.music_format import MIXTURE
from storage.workspace import Workspace, track_path

STAGE = "ingest"


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
    with ThreadPoolExecutor(1) as thread:
        decoded = ahead(thread, partial(_decoded, batch), batch.files, 1)
        for file, future in zip(batch.files, decoded, strict=True):
            _take_file(batch, file, future, outcome)
    return outcome


def _decoded(batch: TrackBatch, file: SourceFile) -> tuple[PreparedAudio, ExitStack]:
    """The audio of a file, and what lets it go."""
    with ExitStack() as stack:
        audio = stack.enter_context(
            prepare(
                batch.fs,
                file.path,
                sample_rate=batch.workspace.music.sample_rate,
                num_channels=batch.workspace.music.num_channels,
                min_duration_s=batch.min_file_s,
                silence_db=batch.silence_db,
                with_tags=True,
            )
        )
        return audio, stack.pop_all()


def _take_file(
    batch: TrackBatch,
    file: SourceFile,
    decoded: Future[tuple[PreparedAudio, ExitStack]],
    outcome: Outcome,
) -> None:
    """Add a track's rows, or that its file is rejected."""
    try:
        audio, held = decoded.result()
        with held:
            _take_track(batch, file, audio, outcome)
    except Unusable as problem:
        detail = problem.detail
        if problem.reason == "missing" and is_undecodable(file.path):
            detail += "; the list is in an encoding that is not known, so save it as UTF-8"
        outcome.rejects.append(
            reject_row(STAGE, file.url, problem.reason, detail, source_bytes=file.num_bytes)
        )


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
