"""Which music a detector or a model was trained on → ``heard``: the answer to "who heard this?"."""

from __future__ import annotations

from collections.abc import Sequence

from flows.running.stage import StageRun
from storage.tables.manifests import Partition
from storage.tables.schemas import HEARD
from storage.tables.sql import any_of, quoted, reading


def write_heard(
    run: StageRun,
    heard_by: str,
    stems: Sequence[Partition],
    remixes: Sequence[Partition] = (),
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
        remixes: the recipes to draw from.
        tracks: the unlabelled music that is heard as it is.
        after: a model that it began with, and that has heard all it has.
    """
    query = f"""
        WITH recipes AS (
            SELECT track_id, added, model_id FROM remixes WHERE {any_of(remixes)}
        )
        SELECT track_id, false FROM recipes
        UNION SELECT unnest([stem.track_id FOR stem IN added]), model_id = '' FROM recipes
        UNION SELECT track_id, false FROM tracks WHERE {any_of(tracks)}
        UNION SELECT track_id, true FROM stems
              WHERE {any_of(stems)} AND split IN ('train', 'valid')
        ORDER BY track_id
    """
    with reading(run.workspace, ("stems", "remixes", "tracks")) as database:
        rows = database.sql(query).fetchall()
    if after:
        with reading(run.workspace, (HEARD.name,), retired=True) as everything:
            before = everything.sql(
                f"SELECT track_id, labelled FROM heard WHERE fingerprint = {quoted(after)}"
            ).fetchall()
        rows = sorted({*rows, *before})
    run.manifests.write(
        run.partition(HEARD.name),
        [run.fingerprint],
        [
            {"heard_by": heard_by, "track_id": track_id, "labelled": labelled}
            for track_id, labelled in rows
        ],
    )
