"""Which music a detector or a model was trained on → ``heard``: the answer to "who heard this?"."""

from __future__ import annotations

from collections.abc import Sequence

from flows.inputs.recipe_music import RecipeMusic
from flows.running.stage import StageRun
from storage.tables.manifests import Partition
from storage.tables.schemas import HEARD
from storage.tables.sql import any_of, quoted, reading


def write_heard(
    run: StageRun,
    heard_by: str,
    stems: Sequence[Partition],
    recipes: RecipeMusic | None = None,
    tracks: Sequence[Partition] = (),
    after: str = "",
) -> None:
    """Record what a training may hear: the songs it learns from and validates on, the remixes.

    Manifests grow, and music is forgotten; this stays as it was. It belongs before the description
    that makes a detector or model count as finished.

    Args:
        run: the training's; its fingerprint is the id of what is trained.
        heard_by: ``detectors`` or ``models``.
        stems: the labelled songs and single stems.
        recipes: the music of those that it draws from.
        tracks: the unlabelled music that is heard as it is.
        after: a model that it began with, and that has heard all it has.
    """
    query = f"""
        SELECT track_id, false FROM tracks WHERE {any_of(tracks)}
        UNION SELECT track_id, true FROM stems
              WHERE {any_of(stems)} AND split IN ('train', 'valid')
    """
    with reading(run.workspace, ("stems", "tracks")) as database:
        rows = set(database.sql(query).fetchall())
    if recipes is not None:
        rows |= {(track_id, False) for track_id in recipes.tracks.keys() | recipes.estimated}
        rows |= {(track_id, True) for track_id in recipes.songs}
    if after:
        with reading(run.workspace, (HEARD.name,), retired=True) as everything:
            rows |= set(
                everything.sql(
                    f"SELECT track_id, labelled FROM heard WHERE fingerprint = {quoted(after)}"
                ).fetchall()
            )
    run.manifests.write(
        run.partition(HEARD.name),
        [run.fingerprint],
        [
            {"heard_by": heard_by, "track_id": track_id, "labelled": labelled}
            for track_id, labelled in sorted(rows)
        ],
    )
