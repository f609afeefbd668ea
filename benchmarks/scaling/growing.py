"""A workspace of any size: a real one of a few tracks, and rows like theirs for all others.

Every row names a source file and audio that exist. What is done with them here does not depend on
what they sound like, so the audio is links to a few files.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from flows.ingest.source_files import file_item
from storage.finding.discovery import SourceFile, find_audio
from storage.fingerprint import ID_DIGITS
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import DUPLICATES, MEASURES, PRINTS, SCORES, SOURCE_FILES, TRACKS, Table
from storage.workspace import Workspace, track_path

TRACK_S = 90.0
SILENCES_A_SEGMENT = 1.5
"""Silences of several sources at once are one segment."""
PRINT_ITEMS_A_S = 8.0
LINKS_A_FILE = 30_000
"""A file system has a limit."""
TRACKS_A_PART = 16
ROWS_LIKE = tuple(table.name for table in (TRACKS, SOURCE_FILES, PRINTS, MEASURES, SCORES))
PAUSE_S = 0.9
"""Between two silences of a source."""


@dataclass(frozen=True)
class Grown:
    """A workspace with unlabelled music that is scored.

    Attributes:
        root: the workspace.
        music: the folder of source files.
        corpus: name of the music.
        segments_a_track: how many a policy that takes a second finds, about.
    """

    root: Path
    music: Path
    corpus: str
    segments_a_track: int

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace."""
        return Workspace(str(self.root))

    def grow(self, num_tracks: int) -> None:
        """Add tracks until there are so many."""
        manifests = Manifests(self.workspace)
        present = manifests.count(manifests.latest(TRACKS.name, self.corpus))
        numbers = range(present, num_tracks)
        for first in numbers[::TRACKS_A_PART]:
            self._add(manifests, range(first, min(first + TRACKS_A_PART, num_tracks)))

    def _add(self, manifests: Manifests, numbers: range) -> None:
        files = [self._source_file(number) for number in numbers]
        ids = [_track_id(number) for number in numbers]
        for number, track_id in zip(numbers, ids, strict=True):
            self._link_audio(number, track_id)
        items = [file_item(file) for file in files]
        rows: dict[str, list[dict[str, Any]]] = {
            PRINTS.name: [self._print(number) for number in numbers],
            MEASURES.name: [{**self._like(MEASURES), "track_id": track_id} for track_id in ids],
            SOURCE_FILES.name: [
                {
                    **self._like(SOURCE_FILES),
                    "source_url": file.url, "source_bytes": file.num_bytes, "stamp": file.stamp,
                    "item": item, "track_id": track_id, "seen_at": datetime.now(UTC),
                }
                for file, item, track_id in zip(files, items, ids, strict=True)
            ],
            TRACKS.name: [self._track(*each) for each in zip(files, ids, strict=True)],
        }  # fmt: skip
        for table, made in rows.items():
            manifests.write(self._partitions[table], items, made)
        if DUPLICATES.name in self._partitions:
            compared = [f"track|{track_id}" for track_id in ids]
            manifests.write(self._partitions[DUPLICATES.name], compared, [])
        scored = [self._scores(number) for number in numbers]
        manifests.write(self._partitions[SCORES.name], ids, scored)

    @cached_property
    def _partitions(self) -> dict[str, Partition]:
        """Where the rows of each table go; looked up once, since every part makes that longer."""
        manifests = Manifests(self.workspace)
        found = {name: manifests.latest(name, self.corpus) for name in ROWS_LIKE}
        for partition in manifests.partitions(DUPLICATES.name, self.corpus):
            if any(item.startswith("track|") for item in manifests.items(partition)):
                found[DUPLICATES.name] = partition
        return found

    @cached_property
    def _templates(self) -> dict[str, dict[str, Any]]:
        manifests = Manifests(self.workspace)
        return {name: next(manifests.rows(self._partitions[name])) for name in ROWS_LIKE}

    def _like(self, table: Table) -> dict[str, Any]:
        return self._templates[table.name]

    @property
    def _num_samples(self) -> int:
        return round(TRACK_S * self.workspace.music.sample_rate)

    def source_of(self, number: int) -> str:
        """The source file of a track."""
        return str(self.music / f"{number // 1000:04d}" / f"{number:07d}.wav")

    def _source_file(self, number: int) -> SourceFile:
        path = Path(self.source_of(number))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")  # known to ingest already, which does not open it again
        _, [file] = find_audio(str(path))
        return file

    def _link_audio(self, number: int, track_id: str) -> None:
        path = self.root / track_path(self.corpus, track_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        original = self.root.parent / f"audio-{number // LINKS_A_FILE}.wav"
        if not original.exists():
            music = self.workspace.music
            noise = np.random.default_rng(number).normal(0, 0.1, self._num_samples)
            soundfile.write(original, noise, music.sample_rate, subtype="PCM_16")
        os.link(original, path)

    def _track(self, file: SourceFile, track_id: str) -> dict[str, Any]:
        return {
            **self._like(TRACKS),
            "track_id": track_id,
            "path": track_path(self.corpus, track_id),
            "source_url": file.url,
            "source_bytes": file.num_bytes,
            "num_samples": self._num_samples,
            "duration_s": TRACK_S,
            "content_hash": _hash(track_id),
        }

    def _print(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng([1, number])
        items = rng.integers(2**32, size=round(TRACK_S * PRINT_ITEMS_A_S), dtype=np.uint32)
        return {**self._like(PRINTS), "track_id": _track_id(number), "items": items.tolist()}

    def _scores(self, number: int) -> dict[str, Any]:
        like = self._like(SCORES)
        num_frames = -(-self._num_samples // like["hop_samples"])
        track_id = _track_id(number)
        return {
            **like,
            "track_id": track_id,
            "path": track_path(self.corpus, track_id),
            "num_samples": self._num_samples,
            "num_frames": num_frames,
            "silence_probability": [
                row.tolist() for row in self._silences(len(like["sources"]), num_frames, number)
            ],
            "level_db": [-20.0] * num_frames,
        }

    def _silences(self, num_sources: int, num_frames: int, number: int) -> np.ndarray:
        """Probabilities that say: silent, as often as gives the segments that are wanted."""
        period = num_frames * num_sources / (self.segments_a_track * SILENCES_A_SEGMENT)
        pause = PAUSE_S / TRACK_S * num_frames
        frame = np.arange(num_frames)
        starts = period * np.random.default_rng([2, number]).random(num_sources)
        sounds = ((frame - starts[:, None]) % period) < pause
        return np.where(sounds, np.float32(0.001), np.float32(0.9999))


def _track_id(number: int) -> str:
    return _hash(f"track {number}")[:ID_DIGITS]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
