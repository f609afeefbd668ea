"""Whether labelled audio is what was ingested, before anything learns from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from storage.damage import damaged
from storage.decoding.unchanged import what_changed
from storage.reading import missing
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

NUM_READERS = 4


def require_intact(manifests: Manifests, corpora: Sequence[Partition], *splits: str) -> None:
    """Compare the stems of some splits with their hashes, a gigabyte or two a second.

    Crops are read out of the middle of files, so nobody would notice later. A bucket keeps
    checksums of its own, and is not read for this.

    Raises:
        DamagedError: a stem holds other samples than were ingested.
        MissingAudioError: one is gone.
    """
    workspace = manifests.workspace
    if not workspace.is_local:
        return
    columns = ["split", "path", "num_samples", "content_hash"]
    rows = [
        row for stems in corpora for row in manifests.rows(stems, columns) if row["split"] in splits
    ]
    with ThreadPoolExecutor(NUM_READERS) as readers:
        for problem in readers.map(partial(_problem, workspace), rows):
            if problem is not None:
                raise problem


def _problem(workspace: Workspace, row: Mapping[str, Any]) -> Exception | None:
    path = row["path"]
    try:
        why = what_changed(workspace, path, row["num_samples"], row["content_hash"])
    except FileNotFoundError:
        return missing(path)
    return damaged(workspace.url(path), why) if why else None
