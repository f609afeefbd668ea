"""What a stage can't use: a row of ``rejects``, made in one way by every stage."""

from __future__ import annotations

from typing import Any


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
