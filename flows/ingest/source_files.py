"""What each file of music was when it was last looked at, and so which tracks are current.

A file is known by its address, its size and its time. If one of them changes it is looked at again,
and what it was before is retired, unless another file still is that: the track's row names that one
then. ``source_files`` holds every look; of several at one file the last holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from flows.ingest.addresses import settle_addresses
from flows.ingest.retiring import DUPLICATE, REPLACED, retire
from flows.running.stage import StageRun
from storage.finding.discovery import SourceFile
from storage.tables.manifests import Manifests, Partition
from storage.tables.retired import RetiredKey, Retirement
from storage.tables.schemas import MEASURES, PRINTS, REJECTS, SOURCE_FILES, TRACKS


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a file was found to be.

    Attributes:
        source_url: its address.
        source_bytes: its size.
        stamp: its time, or what else differs when it is written anew.
        item: its name among what the partition covers.
        track_id: the audio in it, also where something else has the same; empty if none is used.
        reason: why it is rejected; empty if it is not.
    """

    source_url: str
    source_bytes: int
    stamp: str
    item: str
    track_id: str
    reason: str


def file_item(file: SourceFile, again: str = "") -> str:
    """Name of a file in a partition's items: a file that has changed is another.

    Args:
        file: as it is now.
        again: what tells this look from an earlier one at the same file.
    """
    return "|".join(filter(None, (file.url, str(file.num_bytes), file.stamp, again)))


def old_item(file: SourceFile) -> str:
    """What it was called before times counted."""
    return f"{file.url}|{file.num_bytes}"


def to_look_at(
    run: StageRun, files: Sequence[SourceFile], retry: bool, gone: Set[str] = frozenset()
) -> dict[str, str]:
    """The files that are new, have changed or are to be tried again, and what to call them.

    Args:
        run: of ingest; if it is forced, all are.
        files: that are there.
        retry: look at those again that were rejected.
        gone: addresses of files whose audio is not there any more.

    Returns:
        The item of each such file, by its address.
    """
    names = (name for file in files for name in (file_item(file), old_item(file)))
    done = run.done(
        run.partition(TRACKS.name),
        set(names) if run.force else frozenset(),  # what is taken away, to be made again
        REJECTS.name,
        SOURCE_FILES.name,
        PRINTS.name,
        MEASURES.name,
    )
    looks = last_looks(run.manifests, run.corpus, run.fingerprint)
    again = uuid4().hex[:8]
    pending: dict[str, str] = {}
    adopted: list[SourceFile] = []
    for file in files:
        look = looks.get(file.url)
        if look is None:
            if old_item(file) in done and not run.force:
                adopted.append(file)
            else:
                pending[file.url] = file_item(file)
            continue
        is_same = (look.source_bytes, look.stamp) == (file.num_bytes, file.stamp)
        is_done = is_same and look.item in done
        if is_done and not run.force and not (retry and look.reason) and file.url not in gone:
            continue
        if is_same and not is_done and not run.force and not look.reason:
            # A run was killed before its last part, or is about to write it: it is the same part.
            pending[file.url] = look.item
            continue
        # a part of its name may be there, and another of that name would not be written
        is_new = not is_same or (run.force and not is_done)
        pending[file.url] = file_item(file, "" if is_new else again)
    if adopted and not run.dry_run:
        pending |= _adopt(run, adopted, retry, again)
        pending |= {file.url: file_item(file, again) for file in adopted if file.url in gone}
    return pending


def _adopt(run: StageRun, files: Sequence[SourceFile], retry: bool, again: str) -> dict[str, str]:
    """Note the times of files that were ingested when times did not count."""
    tracks = {
        row["source_url"]: row["track_id"]
        for row in run.manifests.rows(run.partition(TRACKS.name), ["source_url", "track_id"])
    }
    reasons = {
        row["item"]: row["reason"]
        for row in run.manifests.rows(run.partition(REJECTS.name), ["item", "reason"])
    }
    looks = [
        Look(
            source_url=file.url,
            source_bytes=file.num_bytes,
            stamp=file.stamp,
            item=old_item(file),
            track_id=tracks.get(file.url, ""),
            reason=reasons.get(file.url, ""),
        )
        for file in files
    ]
    note_looks(run, looks, [uuid4().hex])
    rejected = {look.source_url for look in looks if look.reason}
    return {file.url: file_item(file, again) for file in files if retry and file.url in rejected}


def note_looks(run: StageRun, looks: Iterable[Look], items: Iterable[str]) -> None:
    """Record what files were found to be, as the part that covers ``items``."""
    now = run.now()
    rows = [{**asdict(look), "seen_at": now} for look in looks]
    run.manifests.write(run.partition(SOURCE_FILES.name), items, rows)


def _all_looks(manifests: Manifests, corpus: str) -> list[tuple[str, dict[str, Any]]]:
    """Every look at every file of a corpus, with its fingerprint, oldest first."""
    rows = [
        (partition.fingerprint, row)
        for partition in manifests.partitions(SOURCE_FILES.name, corpus)
        for row in manifests.rows(partition)
    ]
    return sorted(rows, key=lambda found: found[1]["seen_at"])


def last_looks(manifests: Manifests, corpus: str, fingerprint: str) -> dict[str, Look]:
    """The last look at each file by runs of one fingerprint."""
    found: dict[str, tuple[datetime, Look]] = {}
    for row in manifests.rows(Partition(SOURCE_FILES.name, corpus, fingerprint)):
        seen_at, before = row.pop("seen_at"), found.get(row["source_url"])
        if before is None or seen_at >= before[0]:
            found[row["source_url"]] = seen_at, Look(**row)
    return {url: look for url, (_, look) in found.items()}


def held_audio(manifests: Manifests, corpus: str, fingerprint: str) -> dict[str, str]:
    """The track that each file was when it was last of use, to runs of one fingerprint."""
    partition = Partition(SOURCE_FILES.name, corpus, fingerprint)
    rows = manifests.rows(partition, ["source_url", "track_id", "seen_at"])
    return _held(sorted(rows, key=lambda row: row["seen_at"]))


def _held(looks: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {row["source_url"]: row["track_id"] for row in looks if row["track_id"]}


def settle_files(run: StageRun, root: str, there: Set[str]) -> int:
    """Bring ``tracks`` and ``retired`` in line with what the files of a run's corpus are.

    A track is current as long as a file is known by its audio, and a reject as long as its file
    was of no use when it was last looked at.

    Args:
        run: of ingest.
        root: path or URL of the folder that was searched, as in ``source_url``.
        there: addresses of the files that were found in it.

    Returns:
        How much was retired, or is current again.
    """
    looks = _all_looks(run.manifests, run.corpus)
    known = run.manifests.retired().of_corpus(run.corpus)
    wanted = {
        key: why
        for key, why in known.items()
        if key.manifest == TRACKS.name and why.reason != REPLACED
    }
    folder = f"{root.rstrip('/')}/"
    owners = settle_addresses(
        run,
        looks,
        is_gone=lambda url: url.startswith(folder) and url not in there,
        unused={key.track_id for key in wanted},
    )
    holds = _held(row for _, row in looks)
    held = set(holds.values())
    for partition in run.manifests.partitions(TRACKS.name, run.corpus):
        columns = ["track_id", "source_url"]
        for row in run.manifests.rows(partition, columns, retired=True):
            key, now = RetiredKey(TRACKS.name, row["track_id"]), holds.get(row["source_url"])
            if now is not None and row["track_id"] not in held and key not in wanted:
                why = f"{row['source_url']} as it is now, track {now}"
                wanted[key] = Retirement(REPLACED, why)
    usable = _usable(looks, owners)
    for partition in run.manifests.partitions(REJECTS.name, run.corpus):
        for row in run.manifests.rows(partition, ["item", "stage"], retired=True):
            if row["stage"] == run.stage and row["item"] in usable:
                why = f"{row['item']} as it is now"
                wanted[RetiredKey(REJECTS.name, "", "", row["item"])] = Retirement(REPLACED, why)
    return retire(run, run.corpus, wanted, (TRACKS.name, REJECTS.name))


def _usable(
    looks: Iterable[tuple[str, Mapping[str, Any]]], owners: Set[tuple[str, str]]
) -> set[str]:
    """The files that no fingerprint's last look rejects.

    Of a duplicate the other file may have become another one: it is one of the ``owners`` now,
    which tracks of that fingerprint name.
    """
    last = {(name, row["source_url"]): row["reason"] for name, row in looks}
    rejected = {
        place[1]
        for place, reason in last.items()
        if reason and not (reason == DUPLICATE and place in owners)
    }
    return {url for _, url in last} - rejected
