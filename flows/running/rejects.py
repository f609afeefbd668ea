"""What a stage can't use: a row of ``rejects``, made in one way by every stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flows.inputs.forgotten import forgotten
from storage.damage import ADVICE, without_advice
from storage.reading import CanonicalAudioError
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import REJECTS

WORKER_DIED = "worker_died"
"""The reason of a reject on which the processes that worked on it died."""

DAMAGED = "damaged_audio"
"""The reason of a reject whose canonical audio is missing, or is not what was ingested."""


def reject_row(
    stage: str, item: str, reason: str, detail: str, *, source_bytes: int = 0
) -> dict[str, Any]:
    """A row of ``rejects``.

    Args:
        stage: who refuses it.
        item: the file, track or song.
        reason: one word to count by.
        detail: what is wrong with this one, and the way out.
        source_bytes: size of the file; 0 where it is unknown or the item is no file.
    """
    return {
        "stage": stage,
        "item": item,
        "source_bytes": max(source_bytes, 0),
        "reason": reason,
        "detail": detail,
    }


def reject_damaged(
    manifests: Manifests, refused: Partition, stage: str, damaged: Mapping[str, CanonicalAudioError]
) -> int:
    """Reject tracks whose audio is not what was ingested, or gone; what was forgotten is no reject.

    Each is a part of its own and none counts as done, since they may be mended.

    Args:
        manifests: of the workspace.
        refused: the partition of ``rejects``.
        stage: who refuses them.
        damaged: what is wrong, by the ``track_id``.

    Returns:
        How many were rejected.
    """
    left = {*damaged} - (forgotten(manifests) if damaged else set())
    for track_id in sorted(left):
        why = f"{without_advice(str(damaged[track_id]))}; {ADVICE}"
        manifests.write(refused, [track_id], [reject_row(stage, track_id, DAMAGED, why)])
    return len(left)


def reject_killer(
    manifests: Manifests, target: Partition, stage: str, item: str, detail: str
) -> dict[str, float]:
    """Reject what kills each worker that it is given to; it is tried again by the next run.

    Args:
        manifests: of the workspace.
        target: what it was to be in; ``rejects`` of that corpus and fingerprint have it.
        stage: who refuses it.
        item: the track, song or segment.
        detail: what happened.

    Returns:
        What a batch counts.
    """
    rejects = replace(target, table=REJECTS.name)
    manifests.write(rejects, [item], [reject_row(stage, item, WORKER_DIED, detail)])
    return {"rejected": 1}
