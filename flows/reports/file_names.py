"""What people call the music that the manifests know by its ids."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from storage.tables.manifests import Manifests
from storage.tables.schemas import STEMS, TRACKS


def file_names(manifests: Manifests, corpus: str, track_ids: Collection[str]) -> dict[str, str]:
    """For some tracks and songs of a corpus, the names of their files and songs.

    An id that is not there, since its music was forgotten, say, stands for itself.
    """
    names = {track_id: track_id for track_id in track_ids}
    wanted = pa.array([*names], pa.string())
    for table, column in ((TRACKS.name, "source_url"), (STEMS.name, "song")):
        for partition in manifests.partitions(table, corpus) if names else ():
            for batch in manifests.scan(partition, ["track_id", column]):
                for row in batch.filter(pc.is_in(batch["track_id"], wanted)).to_pylist():
                    names[row["track_id"]] = base_name(row[column])
    return names


def base_name(url: str) -> str:
    """The last part of a path or URL.

    >>> base_name("s3://bucket/live/a song.mp3")
    'a song.mp3'
    """
    return url.rpartition("/")[2]
