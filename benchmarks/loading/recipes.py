"""Recipes by the million: rows of ``remixes`` that name no audio, for the loader's benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from storage.tables.manifests import Partition
from storage.tables.parts import ITEMS, schema_of_part, write_parquet
from storage.tables.schemas import REMIXES
from storage.workspace import Workspace

RECIPES_A_SEGMENT = 4
SEGMENTS_A_TRACK = 12
SEGMENTS_A_PART = 16_384
SONGS = 100
SECOND = 44_100
TRACK_SAMPLES = 240 * SECOND
SONG_SAMPLES = 200 * SECOND
SEGMENT_SAMPLES = 8 * SECOND


def write_recipes(workspace: Workspace, partition: Partition, count: int, *, seed: int = 0) -> None:
    """Write so many recipes, in parts as the stage ``remix`` writes them."""
    rng = np.random.default_rng(seed)
    for table in _parts(count, workspace.music.sources, rng):
        path = f"{partition.folder}/part-{rng.bytes(12).hex()}.parquet"
        workspace.put(
            path,
            lambda file, table=table: write_parquet(REMIXES.name, [table], file),  # type: ignore[misc]
        )


def _parts(count: int, sources: tuple[str, ...], rng: np.random.Generator) -> Iterator[pa.Table]:
    for first in range(0, count, SEGMENTS_A_PART * RECIPES_A_SEGMENT):
        size = min(SEGMENTS_A_PART * RECIPES_A_SEGMENT, count - first)
        segment = np.arange(first, first + size) // RECIPES_A_SEGMENT
        rows = _rows(segment, sources, rng)
        items = json.dumps(sorted(set(rows["segment_id"].to_pylist())))
        yield rows.cast(schema_of_part(REMIXES.name, {ITEMS: items.encode()}))


def _rows(segment: np.ndarray, sources: tuple[str, ...], rng: np.random.Generator) -> pa.Table:
    """Recipes for segments: one or two sources silent, one of them filled."""
    size = len(segment)
    names = np.array([f"{value * 0x9E3779B97F4A7C15 % 2**80:020x}" for value in segment.tolist()])
    tracks = [f"{value:020x}" for value in (segment // SEGMENTS_A_TRACK).tolist()]
    # what a segment has is the same in all its recipes
    place = segment - segment[0]
    first_silent = rng.integers(len(sources), size=size)[place]
    both = rng.random(size)[place] < 0.3
    num_silent = 1 + both.astype(np.int32)
    silent = np.stack([first_silent, (first_silent + 1) % len(sources)], axis=1)
    start = rng.integers(TRACK_SAMPLES - SEGMENT_SAMPLES, size=size)[place]
    confidence = rng.uniform(0.9, 1, size).astype(np.float32)[place]
    songs = [f"{value:020x}" for value in rng.integers(SONGS, size=size).tolist()]
    filled = np.array(sources)[first_silent]
    added = pa.StructArray.from_arrays(
        [
            pa.array(filled),
            pa.array(songs),
            pa.array([f"audio/labelled/{song[:2]}/{song}/{source}.wav"
                      for song, source in zip(songs, filled.tolist(), strict=True)]),
            pa.array(np.full(size, SONG_SAMPLES)),
            pa.array(rng.integers(SONG_SAMPLES - SEGMENT_SAMPLES, size=size)),
            pa.array(np.full(size, SEGMENT_SAMPLES)),
            pa.array(rng.normal(0, 6, size).astype(np.float32)),
            pa.nulls(size, pa.float32()),
            pa.nulls(size, pa.int32()),
        ],
        fields=list(REMIXES.schema.field("added").type.value_type),
    )  # fmt: skip
    one_each = pa.array(np.arange(size + 1, dtype=np.int32))
    bounds = np.concatenate([[0], np.cumsum(num_silent)]).astype(np.int32)
    kept = np.stack([np.ones(size, bool), both], axis=1)
    columns = {
        "remix_id": [f"{name}-{place % RECIPES_A_SEGMENT}" for place, name in enumerate(names)],
        "segment_id": names,
        "segments_fingerprint": ["f0123456789ab"] * size,
        "track_id": tracks,
        "path": [f"audio/music/{track[:2]}/{track}.wav" for track in tracks],
        "track_num_samples": np.full(size, TRACK_SAMPLES),
        "start_sample": start,
        "stop_sample": start + SEGMENT_SAMPLES,
        "silent_sources": pa.ListArray.from_arrays(  # type: ignore[call-overload]
            pa.array(bounds), pa.array(np.array(sources)[silent[kept]])
        ),
        "confidence": confidence,
        "added": pa.ListArray.from_arrays(one_each, added),  # type: ignore[call-overload]
        "model_id": [""] * size,
    }
    return pa.table({name: columns[name] for name in REMIXES.schema.names})
