"""What was forgotten on request, as ``rejects`` keeps it, so that ingest leaves it out."""

from __future__ import annotations

from storage.fingerprint import fingerprint
from storage.tables.manifests import Manifests
from storage.tables.schemas import REJECTS

STAGE = "forget"
RECORDS = fingerprint(STAGE, 1)
"""The fingerprint of the partitions of ``rejects`` that name what was forgotten."""

FORGOTTEN = ("forgotten", "it was forgotten on request, by `silentmix forget`")
"""Reason and detail of the reject that a file becomes which holds forgotten music."""


def forgotten(manifests: Manifests) -> set[str]:
    """The ``track_id`` of all that was forgotten in a workspace: it must not come back."""
    return {
        row["item"]
        for partition in manifests.partitions(REJECTS.name)
        if partition.fingerprint == RECORDS
        for row in manifests.rows(partition, ["item"])
    }
