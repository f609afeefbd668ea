"""Whether labelled audio is what was ingested, before anything learns from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from storage.damage import damaged
from storage.decoding.canonical import wav_header
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
    music, path = workspace.music, row["path"]
    header = wav_header(row["num_samples"], music.sample_rate, music.num_channels)
    try:
        with open(workspace.resolve(path), "rb") as file:
            file.seek(len(header))
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return missing(path)
    if row["content_hash"] in (found, ""):
        return None
    return damaged(workspace.url(path), "holds other samples than were ingested")
