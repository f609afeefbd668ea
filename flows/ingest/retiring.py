"""What is not current any more → ``retired``; music that a labelled set holds too is among it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import uuid4

from flows.running.stage import StageRun
from storage.labelled.song import SPLITS
from storage.tables.manifests import Manifests, Partition
from storage.tables.retired import RetiredKey, Retirement
from storage.tables.schemas import REJECTS, RETIRED, RETURNED, STEMS, TRACKS

REPLACED, MOVED, DUPLICATE = "replaced", "moved", "duplicate"
LABELLED = {split: f"labelled_{split}" for split in ("valid", "test")}
"""Why music is not used that a labelled set holds out, by the split."""


@dataclass(frozen=True)
class Owner:
    """The labelled song that some audio belongs to.

    Attributes:
        reason: why music with that audio is not used.
        name: what a person calls it.
    """

    reason: str
    name: str


def labelled_audio(manifests: Manifests) -> dict[str, Owner]:
    """Every content hash that a labelled song has or had, and whose it is."""
    columns = ["content_hash", "song", "split", "source"]
    known: dict[str, Owner] = {}
    for retired in (True, False):  # what a song is now comes over what it was
        rows = [
            row
            for partition in manifests.partitions(STEMS.name)
            for row in manifests.rows(partition, columns, retired=retired)
        ]
        rows.sort(key=lambda row: (SPLITS.index(row["split"]), row["song"]))
        for row in rows:
            reason = LABELLED.get(row["split"], DUPLICATE)
            name = f"labelled {row['split']} song {row['song']} ({row['source']})"
            known[row["content_hash"]] = Owner(reason, name)
    return known


def retire_labelled_tracks(run: StageRun, corpus: str | None = None) -> int:
    """Retire the unlabelled tracks that are songs of a labelled set; returns how many changed.

    Ingest refuses such tracks; this is for those that were there before the labelled set.

    Args:
        run: of ingest.
        corpus: whose tracks; None for all corpora.
    """
    owners, changed = labelled_audio(run.manifests), 0
    wanted: dict[str, dict[RetiredKey, Retirement]] = {}
    for partition in run.manifests.partitions(TRACKS.name, corpus):
        for row in run.manifests.rows(partition, ["track_id", "content_hash"], retired=True):
            owner = owners.get(row["content_hash"])
            if owner is not None:
                key = RetiredKey(TRACKS.name, row["track_id"])
                wanted.setdefault(partition.corpus, {})[key] = Retirement(owner.reason, owner.name)
    for name, keys in sorted(wanted.items()):
        changed += retire(run, name, keys, ())
    return changed


def retire(
    run: StageRun,
    corpus: str,
    wanted: Mapping[RetiredKey, Retirement],
    settled: Collection[str],
) -> int:
    """Write what is new in ``wanted``, and what is current again; returns how many of both.

    Args:
        run: of ingest.
        corpus: of what is retired.
        wanted: what shall be retired.
        settled: manifests of which nothing else shall be.
    """
    known = run.manifests.retired().of_corpus(corpus)
    events = [(key, why) for key, why in sorted(wanted.items()) if known.get(key) != why]
    events += [
        (key, Retirement(RETURNED, ""))
        for key in sorted(known)
        if key.manifest in settled and key not in wanted
    ]
    if not events:
        return 0
    now = run.now()
    rows = [
        {
            **key._asdict(),
            "reason": why.reason,
            "superseded_by": why.superseded_by,
            "decided_at": now,
        }
        for key, why in events
    ]
    events_of = run.elsewhere(Partition(RETIRED.name, corpus, run.fingerprint))
    run.manifests.write(events_of, [uuid4().hex], rows)
    told = [
        (key, why)
        for key, why in events
        if key.manifest in (STEMS.name, TRACKS.name)
        and (why.reason == RETURNED or key not in known)
    ]
    for reason, count in Counter(why.reason for _, why in told).items():
        first = next((key, why) for key, why in told if why.reason == reason)
        unit = "songs" if first[0].manifest == STEMS.name else "tracks"
        run.count(**{f"{reason}_{unit}": count})
        note = f"{count} {_told(*first, corpus)}"
        run.warn(note)
    return len([key for key, _ in events if key.manifest != REJECTS.name])


def _told(key: RetiredKey, why: Retirement, corpus: str) -> str:
    what = f"{key.split} song {key.name}" if key.name else f"track {key.track_id}"
    what = f"{what} of {corpus}"
    if why.reason == RETURNED:
        return f"current again, such as {what}"
    return f"left out from now on ({why.reason}), such as {what}: it is {why.superseded_by}"
