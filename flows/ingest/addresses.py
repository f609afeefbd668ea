"""Each track names a file that holds it: where that was moved, or holds another song, a copy.

An address that led to two songs, or to none, would let whoever goes by it take the wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any
from uuid import uuid4

import pyarrow as pa

from flows.ingest.refused import Refused
from flows.ingest.retiring import DUPLICATE
from flows.running.rejects import reject_row
from flows.running.stage import StageRun
from storage.tables.edits import correct_rows
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import TRACKS

ANY = ""
"""No fingerprint in particular."""

Looks = Sequence[tuple[str, Mapping[str, Any]]]
"""Rows of ``source_files``, each with its fingerprint, oldest first."""


def same_audio_as(url: str) -> str:
    """What is said of a duplicate of a file."""
    return f"same audio as file {url}"


def settle_addresses(
    run: StageRun, looks: Looks, *, is_gone: Callable[[str], bool], unused: Set[str]
) -> set[tuple[str, str]]:
    """Let each track name a file that holds it, where the one that it names does not any more.

    Args:
        run: of ingest.
        looks: at all files of its corpus.
        is_gone: whether there is no file of that address any more.
        unused: tracks that are retired, whatever file holds them.

    Returns:
        Of the tracks in use, the fingerprint and the file that each names.
    """
    last = _last_heard(looks)
    holders: dict[tuple[str, str], str] = {}  # by the fingerprint, or none of them, and the track
    for name, row in looks:
        url, track_id = row["source_url"], row["track_id"]
        if last[url]["track_id"] == track_id and not is_gone(url):
            for key in ((name, track_id), (ANY, track_id)):
                holders[key] = min(url, holders.get(key, url))
    owners: dict[tuple[str, str], str] = {}
    for partition in run.manifests.partitions(TRACKS.name, run.corpus):
        moved: dict[str, tuple[str, int]] = {}
        for row in run.manifests.rows(partition, ["track_id", "source_url"], retired=True):
            track_id, url = row["track_id"], row["source_url"]
            of_any = holders.get((ANY, track_id))
            holder = holders.get((partition.fingerprint, track_id), of_any)
            is_there = not is_gone(url) and (url not in last or last[url]["track_id"] == track_id)
            if not is_there and holder is not None:
                url = holder
                moved[track_id] = url, last[url]["source_bytes"]
            if track_id not in unused:
                owners[partition.fingerprint, track_id] = url
        if moved:
            _readdress(run.manifests, partition, moved)
    _name_again(run, looks, owners)
    return {(name, url) for (name, _), url in owners.items()}


def _last_heard(looks: Looks) -> dict[str, Mapping[str, Any]]:
    """What each file is now; that other parameters refuse what is unchanged tells nothing."""
    last: dict[str, Mapping[str, Any]] = {}
    for _, row in looks:
        before = last.get(row["source_url"], row)
        is_same = all(before[name] == row[name] for name in ("source_bytes", "stamp"))
        last[row["source_url"]] = row if row["track_id"] or not is_same else before
    return last


def _readdress(
    manifests: Manifests, partition: Partition, files: Mapping[str, tuple[str, int]]
) -> None:
    """Put other files, with their sizes, into the rows of tracks."""

    def matches(batch: pa.RecordBatch) -> pa.BooleanArray:
        hits = [track_id in files for track_id in batch["track_id"].to_pylist()]
        return pa.array(hits, pa.bool_())

    def corrected(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = ("source_url", "source_bytes")
        rows = batch.select(["track_id", *columns]).to_pylist()
        known = [files.get(row["track_id"], tuple(row[name] for name in columns)) for row in rows]
        for place, name in enumerate(columns):
            field = batch.schema.field(name)
            values = pa.array([row[place] for row in known], field.type)
            batch = batch.set_column(batch.schema.get_field_index(name), field, values)
        return batch

    correct_rows(manifests, partition, matches, corrected, columns=["track_id"])


def _name_again(run: StageRun, looks: Looks, owners: Mapping[tuple[str, str], str]) -> None:
    """Let the duplicates that a run's fingerprint rejects name the file that the track names."""
    last = {row["source_url"]: row for name, row in looks if name == run.fingerprint}
    rejects = [
        reject_row(
            run.stage, url, DUPLICATE, same_audio_as(owner), source_bytes=row["source_bytes"]
        )
        for url, row in last.items()
        if row["reason"] == DUPLICATE
        and (owner := owners.get((run.fingerprint, row["track_id"]), url)) != url
    ]
    if rejects:
        refused = Refused(run)
        refused.write([uuid4().hex], rejects)
        refused.settle()
