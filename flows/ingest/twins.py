"""Audio that two runs took at the same time, since neither knew of the other: one of them keeps it.

Both runs look when they have written all that they have, and both decide alike.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from flows.ingest.addresses import same_audio_as
from flows.ingest.retiring import DUPLICATE, retire
from flows.ingest.source_files import last_looks, note_looks
from flows.running.rejects import reject_row
from flows.running.stage import StageRun
from storage.tables.edits import remove_rows
from storage.tables.retired import RetiredKey, Retirement
from storage.tables.schemas import REJECTS, TRACKS


def settle_twins(run: StageRun) -> int:
    """Leave each audio of a run's corpus in one corpus and one row; returns what changed."""
    return _settle_rows(run) + _settle_corpora(run)


def _settle_corpora(run: StageRun) -> int:
    """Of two corpora with a track, the first by name keeps it."""
    mine = {
        row["track_id"]: row["source_url"]
        for partition in run.manifests.partitions(TRACKS.name, run.corpus)
        for row in run.manifests.rows(partition, ["track_id", "source_url"])
    }
    wanted: dict[str, dict[RetiredKey, Retirement]] = {}
    for partition in run.manifests.partitions(TRACKS.name):
        if partition.corpus == run.corpus:
            continue
        for row in run.manifests.rows(partition, ["track_id", "source_url"]):
            track_id = row["track_id"]
            if track_id not in mine:
                continue
            keeps, loses = sorted((run.corpus, partition.corpus))
            url = mine[track_id] if keeps == run.corpus else row["source_url"]
            why = Retirement(DUPLICATE, f"track of corpus {keeps}, {url}")
            wanted.setdefault(loses, {})[RetiredKey(TRACKS.name, track_id)] = why
    return sum(retire(run, corpus, keys, ()) for corpus, keys in sorted(wanted.items()))


def _settle_rows(run: StageRun) -> int:
    """Of two files of a corpus with the same audio, the first by address keeps it."""
    partition = run.partition(TRACKS.name)
    urls: dict[str, set[str]] = {}
    columns = ["track_id", "source_url"]
    for row in run.manifests.rows(partition, columns, retired=True):
        urls.setdefault(row["track_id"], set()).add(row["source_url"])
    twice = {track_id: sorted(found) for track_id, found in urls.items() if len(found) > 1}
    if not twice:
        return 0
    extra = {f"{track_id} {url}" for track_id, found in twice.items() for url in found[1:]}
    rejects = [
        reject_row(run.stage, url, DUPLICATE, same_audio_as(found[0]))
        for _, found in sorted(twice.items())
        for url in found[1:]
    ]
    items = {f"twice|{name}" for name in extra}
    run.manifests.write(run.partition(REJECTS.name), items, rejects)
    looks = last_looks(run.manifests, run.corpus, run.fingerprint)
    refused = [row["item"] for row in rejects if row["item"] in looks]
    note_looks(run, (replace(looks[url], reason=DUPLICATE) for url in refused), items)
    names = pa.array([*extra], pa.string())
    remove_rows(
        run.manifests, partition, lambda batch: _named(batch, names), frozenset(), columns=columns
    )
    return len(extra)


def _named(batch: pa.RecordBatch, names: pa.StringArray) -> pa.BooleanArray:
    joined = pc.binary_join_element_wise(batch["track_id"], batch["source_url"], " ")  # type: ignore[call-overload]
    named: pa.BooleanArray = pc.is_in(joined, names)
    return named
