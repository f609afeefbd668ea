"""Whether a corpus is unlike the songs that a detector stands on: then no promise holds for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from demucs_core.extraction.likeness import (
    NUM_BINS,
    FloatArray,
    Likeness,
    compare_spreads,
    spread,
)
from demucs_core.extraction.segments import ExtractionPolicy
from flows.inputs import registry
from storage.damage import damaged
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

MAX_TRACKS = 500
"""Looked at, the first ones by the names of their parts, which are hashes."""
MIN_LEVEL_DB = ExtractionPolicy().min_level_db


def keep_spreads(manifests: Manifests, detector: str) -> None:
    """Keep with a detector how it scores the songs that its thresholds stand on.

    Their scores may be forgotten, and the detector may go where they are not.
    """
    held_out = registry.describe(manifests.workspace, "detectors", detector)["held_out"]
    found = _spreads(manifests, Partition("scores", held_out["corpus"], held_out["scores"]))
    told = {
        "corpus": held_out["corpus"],
        "min_level_db": MIN_LEVEL_DB,
        "spreads": [np.round(each, 5).tolist() for each in found],
    }
    manifests.workspace.put_json(_path(detector), told)


def likeness(manifests: Manifests, detector: str, scores: Partition) -> Likeness | None:
    """How a corpus that was scored is like the songs that the detector stands on.

    None where nobody knows: no track sounds, or the songs' scores are gone.
    """
    music = list(_spreads(manifests, scores))
    stands_on = _kept(manifests, detector)
    return compare_spreads(stands_on, music) if stands_on and music else None


def what_is_unlike(manifests: Manifests, detector: str, scores: Partition) -> list[str]:
    """A sentence for whoever scores or extracts, if the corpus is shown to be unlike."""
    found = likeness(manifests, detector, scores)
    if found is None or not found.is_unlike:
        return []
    sources = manifests.workspace.music.sources
    far = max(range(len(sources)), key=lambda place: found.distance[place])
    return [
        f"corpus {scores.corpus} is unlike the {found.num_songs} songs that detector {detector} "
        f"stands on: of the frames that sound, {found.distance[far]:.0%} have other scores for "
        f"{sources[far]} (p = {found.p_value:.3f}, {found.num_tracks} tracks). What it promises "
        "was calibrated on those songs, and need not hold here: listen to a sample of what is "
        f"extracted, {manifests.workspace.command(f'audit --listen --corpus {scores.corpus}')}, "
        "and extract by it (--audit)"
    ]


def _path(detector: str) -> str:
    return f"detectors/{detector}/{registry.STANDS_ON}"


def _kept(manifests: Manifests, detector: str) -> list[FloatArray]:
    workspace: Workspace = manifests.workspace
    if workspace.exists(_path(detector)):
        shape = (len(workspace.music.sources), NUM_BINS)
        try:
            told = workspace.read_json(_path(detector))["spreads"]
            found = [np.array(each, dtype=np.float64).reshape(shape) for each in told]
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(workspace.url(_path(detector)), error) from error
        return found
    # a detector of before: as its held-out songs have their scores still
    held_out = registry.describe(workspace, "detectors", detector)["held_out"]
    return list(_spreads(manifests, Partition("scores", held_out["corpus"], held_out["scores"])))


def _spreads(manifests: Manifests, scores: Partition) -> Iterator[FloatArray]:
    rows = manifests.rows(scores, ["silence_probability", "level_db"])
    for row in islice(rows, MAX_TRACKS):
        found = spread(
            np.array(row["silence_probability"], dtype=np.float32),
            np.array(row["level_db"], dtype=np.float32),
            MIN_LEVEL_DB,
        )
        if found is not None:
            yield found
