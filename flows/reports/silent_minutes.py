"""How much of a corpus's music each source is silent in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.tables.manifests import Manifests, Partition

TRACK_STRIDE = 1 << 40
"""Samples from one track to the next on the line that they are laid out on: 288 days."""


def silent_minutes(manifests: Manifests, segments: Partition) -> dict[str, float]:
    """Minutes of music in which each source is silent: overlapping segments count once.

    The segments of a track lie together in one part, in order of their start; so one pass is
    enough, and memory does not grow with their number.
    """
    music = manifests.workspace.music
    columns = ["track_id", "start_sample", "stop_sample", "silent_sources"]
    samples = dict.fromkeys(music.sources, 0)
    covered_until = dict.fromkeys(music.sources, 0)
    last_track, num_tracks = "", 0
    for batch in manifests.scan(segments, columns):
        if not batch.num_rows:
            continue
        track = batch["track_id"].to_numpy(zero_copy_only=False)
        is_new = np.concatenate([[track[0] != last_track], track[1:] != track[:-1]])
        offset = (num_tracks + np.cumsum(is_new)) * TRACK_STRIDE
        last_track, num_tracks = track[-1], num_tracks + int(is_new.sum())
        starts = offset + batch["start_sample"].to_numpy()
        stops = offset + batch["stop_sample"].to_numpy()
        for source in music.sources:
            rows = rows_without(batch["silent_sources"], source)
            if not len(rows):
                continue
            until = np.maximum.accumulate([covered_until[source], *stops[rows]])
            new = np.maximum(stops[rows] - np.maximum(starts[rows], until[:-1]), 0)
            samples[source] += int(new.sum())
            covered_until[source] = int(until[-1])
    return {source: count / music.sample_rate / 60 for source, count in samples.items()}


def rows_without(silent_sources: pa.Array[Any], source: str) -> NDArray[np.int64]:
    """The rows whose lists of silent sources hold a source."""
    of_source = pc.equal(pc.list_flatten(silent_sources), pa.scalar(source))
    return np.asarray(pc.list_parent_indices(silent_sources).filter(of_source))
