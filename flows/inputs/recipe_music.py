"""Which music recipes are made of: read once, a row group at a time, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage.tables.manifests import Manifests, Partition

ADDED = "added.list.element.track_id"


@dataclass(frozen=True, kw_only=True)
class RecipeMusic:
    """What recipes draw from, by ``track_id``.

    Attributes:
        tracks: unlabelled tracks, each with its corpus.
        songs: labelled songs whose stems are added.
        estimated: tracks of which a model's estimates are added.
    """

    tracks: dict[str, str] = field(default_factory=dict)
    songs: set[str] = field(default_factory=set)
    estimated: set[str] = field(default_factory=set)


def music_of(manifests: Manifests, remixes: Sequence[Partition]) -> RecipeMusic:
    """The music of the current recipes of some partitions."""
    music = RecipeMusic()
    for partition in remixes:
        for group in manifests.row_groups(partition):
            batches = manifests.row_group_fields(group, ["track_id"], [ADDED])
            models = manifests.row_group_batches(group, ["model_id"])
            for batch, model in zip(batches, models, strict=True):
                music.tracks.update(dict.fromkeys(_names(batch["track_id"]), partition.corpus))
                added = pc.struct_field(pc.list_flatten(batch["added"]), "track_id")
                by_recipe = pc.is_in(model["model_id"], pa.array([""]))
                of_songs = by_recipe.take(pc.list_parent_indices(batch["added"]))
                music.songs.update(_names(added.filter(of_songs)))
                music.estimated.update(_names(added.filter(pc.invert(of_songs))))
    return music


def _names(column: pa.Array[Any]) -> list[Any]:
    return list(pc.unique(column).to_pylist())
