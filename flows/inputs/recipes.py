"""The recipes of ``remixes`` as training wants them."""

from __future__ import annotations

from collections.abc import Iterator

from demucs_core.training.recipes import AddedStem, Recipe
from storage.manifests import Manifests, Partition


def load_recipes(
    manifests: Manifests, remixes: Partition, confidence_weighting: float = 0.0
) -> Iterator[Recipe]:
    """The recipes of a partition as training wants them.

    Args:
        manifests: of the workspace.
        remixes: the partition.
        confidence_weighting: a recipe's weight is the detector's confidence to this power.
    """
    index = {source: position for position, source in enumerate(manifests.workspace.music.sources)}
    for row in manifests.rows(remixes):
        yield Recipe(
            remix_id=row["remix_id"],
            track_path=row["path"],
            track_num_samples=row["track_num_samples"],
            segment_start_sample=row["start_sample"],
            segment_stop_sample=row["stop_sample"],
            silent=tuple(index[source] for source in row["silent_sources"]),
            added=tuple(
                AddedStem(
                    source=index[stem["source"]],
                    path=stem["path"],
                    num_samples=stem["track_num_samples"],
                    start_sample=stem["start_sample"],
                    excerpt_samples=stem["num_samples"],
                    gain_db=stem["gain_db"],
                )
                for stem in row["added"]
            ),
            weight=row["confidence"] ** confidence_weighting,
        )
