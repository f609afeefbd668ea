"""Which music recipes are made of: read once, a row group at a time, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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
                tracks = pc.unique(batch["track_id"]).to_pylist()
                music.tracks.update(dict.fromkeys(tracks, partition.corpus))
                added = pc.struct_field(pc.list_flatten(batch["added"]), "track_id")
                of_songs = pc.equal(model["model_id"], "").take(
                    pc.list_parent_indices(batch["added"])
                )
                music.songs.update(pc.unique(added.filter(of_songs)).to_pylist())
                music.estimated.update(pc.unique(added.filter(pc.invert(of_songs))).to_pylist())
    return music
