"""The labelled set as the stages after ingest see it: manifests in, core types out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demucs_core.stem_tracks import StemTrack
from storage.errors import UserError
from storage.manifests import Manifests, Partition

MIXTURE = "mixture"


@dataclass(frozen=True)
class Song:
    """One labelled song.

    Attributes:
        track_id: name in the manifests.
        name: name in the labelled set.
        num_samples: length of every stem.
        paths: canonical audio by source, ``mixture`` included, relative to the workspace.
        sources: of the workspace, in order.
    """

    track_id: str
    name: str
    num_samples: int
    paths: dict[str, str]
    sources: tuple[str, ...]

    def stem_track(self) -> StemTrack:
        """The song as training examples want it."""
        paths = tuple(self.paths[source] for source in self.sources)
        return StemTrack(track_id=self.track_id, num_samples=self.num_samples, paths=paths)


def load_songs(manifests: Manifests, stems: Partition, split: str) -> list[Song]:
    """The songs of one split, sorted by ``track_id``; a labelled set fits in memory."""
    columns = ["track_id", "song", "split", "source", "path", "num_samples"]
    sources = manifests.workspace.music.sources
    songs: dict[str, Song] = {}
    for row in manifests.rows(stems, columns):
        if row["split"] == split:
            song = songs.setdefault(
                row["track_id"], Song(row["track_id"], row["song"], row["num_samples"], {}, sources)
            )
            song.paths[row["source"]] = row["path"]
    return [songs[track_id] for track_id in sorted(songs)]


def songs_kept_for_test(manifests: Manifests) -> dict[str, str]:
    """The content hash of every test song's audio in the workspace, and the song's name."""
    return {
        row["content_hash"]: row["song"]
        for stems in manifests.partitions("stems")
        for row in manifests.rows(stems, ["content_hash", "song", "split"])
        if row["split"] == "test"
    }


def require_songs(songs: list[Song], corpus: str, split: str, purpose: str) -> list[Song]:
    """The songs, or a clear error if there are none.

    Raises:
        UserError: the split is empty.
    """
    if not songs:
        raise UserError(
            f"corpus {corpus!r} has no {split} songs, and {purpose} needs them; add songs to the "
            f"labelled set's {split}/ folder and ingest it again"
        )
    return songs


@dataclass(frozen=True)
class Activity:
    """Where one song's sources sound.

    Attributes:
        active: ``(S, F)`` bool.
        level_db: ``(S, F)`` level of each stem.
        mixture_level_db: ``(F,)`` level of the mixture.
    """

    active: NDArray[np.bool_]
    level_db: NDArray[np.float32]
    mixture_level_db: NDArray[np.float32]


def load_activity(manifests: Manifests, activity: Partition, split: str) -> dict[str, Activity]:
    """The activity of every song of one split, by ``track_id``."""
    sources = manifests.workspace.music.sources
    columns = ["track_id", "split", "source", "active", "level_db"]
    rows: dict[str, dict[str, tuple[list[bool], list[float]]]] = {}
    for row in manifests.rows(activity, columns):
        if row["split"] == split:
            rows.setdefault(row["track_id"], {})[row["source"]] = (row["active"], row["level_db"])
    return {
        track_id: Activity(
            active=np.array([found[source][0] for source in sources], dtype=np.bool_),
            level_db=np.array([found[source][1] for source in sources], dtype=np.float32),
            mixture_level_db=np.array(found[MIXTURE][1], dtype=np.float32),
        )
        for track_id, found in rows.items()
    }
