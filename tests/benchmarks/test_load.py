"""The tracks of a load are different files, and all of them are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.load import write_tracks
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

LIKE: dict[str, Any] = {
    "track_id": "first", "path": "audio/music/first.wav", "source_url": "/first.wav",
    "source_bytes": 9, "num_samples": 5, "sample_rate": 8_000, "duration_s": 1.0, "peak": 0.5,
    "gain_db": 0.0, "level_db": -20.0, "truncated": False, "content_hash": "first",
}  # fmt: skip


def test_all_tracks_are_written_once(tmp_path: Path) -> None:
    manifests = Manifests(Workspace(str(tmp_path / "workspace"), create=True))
    partition = Partition("tracks", "music", "f1")
    manifests.write(partition, [LIKE["source_url"]], [LIKE])
    write_tracks(manifests, "music", 21, 10)
    assert len(manifests.parts(partition)) == 1 + 3
    assert len(manifests.items(partition)) == 1 + 21
    for column in ("track_id", "path", "source_url", "content_hash"):
        assert len({row[column] for row in manifests.rows(partition)}) == 1 + 21
