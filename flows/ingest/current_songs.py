"""Which labelled songs are current: one row a song, and no song in two splits.

Ingest adds what it finds and takes nothing away. What it has found lies in ``stems``, which files
each song was made of in ``labelled_files``. From both, and from what lies in the set now, follows
which songs are current, whatever came first; ``retired`` is brought in line with that. A single
stem is current where no song of another corpus that is held out has its audio.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from flows.ingest.like_songs import likenesses
from flows.ingest.retiring import DUPLICATE, LABELLED, MOVED, REPLACED, Owner, retire
from flows.running.held_out import SILENCE_DB
from flows.running.rejects import reject_row
from flows.running.stage import StageRun
from storage.labelled.song import SPLITS, LabelledSong
from storage.music_format import MIXTURE
from storage.tables.manifests import Manifests, Partition
from storage.tables.retired import RetiredKey, Retirement
from storage.tables.schemas import ACTIVITY, LABELLED_FILES, REJECTS, STEMS

FIRST_KEEPS = SPLITS[::-1]
"""Of two splits with one song, the one that comes first keeps it."""
WAYS_OUT = {DUPLICATE: "remove one of them"} | dict.fromkeys(
    LABELLED.values(), "it is held out, so not heard"
)
"""Reasons for which a song that lies there is rejected, and what is to be done."""
NOTHING: Mapping[str, Owner] = MappingProxyType({})


@dataclass(frozen=True)
class Version:
    """What a song was at some time.

    Attributes:
        split: train, valid or test.
        song: its name.
        track_id: its audio's name.
        mixture: content hash of its mixture.
        sounds: content hashes of its mixture and of those stems that are not silent, and a name
            for each song that it is like.
        source_url: one of its files.
        lies_there: its files, or others of its name, were there when the set was last looked at.
        is_last: no later version of its name is known.
        fingerprint: of the partition that it is in.
    """

    split: str
    song: str
    track_id: str
    mixture: str
    sounds: frozenset[str]
    source_url: str = ""
    lies_there: bool = True
    is_last: bool = True
    fingerprint: str = ""

    @property
    def is_single(self) -> bool:
        """Whether it is a single stem of a library."""
        return not self.mixture

    def __str__(self) -> str:
        return f"labelled {self.split} song {self.song}"


def settle(
    versions: Iterable[Version], held_out: Mapping[str, Owner] = NOTHING
) -> dict[Version, Retirement]:
    """Which versions are not current, and what took their place.

    Of a name the last version is. Of those in different splits that share a sound, and of those in
    one split that share a mixture, it is one: first one that lies there, then one for test, then
    one for validation, then the first by name. A single stem is none that is held out elsewhere.

    Args:
        versions: of the songs of a corpus.
        held_out: content hashes of the test and validation songs of other corpora.
    """
    versions = list(versions)
    last = {(found.split, found.song): found for found in versions if found.is_last}
    retired = {
        found: Retirement(REPLACED, f"{found} of other files, {now.track_id}")
        for found in versions
        if not found.is_last and (now := last.get((found.split, found.song))) is not None
    }
    owners: dict[str, list[Version]] = {}
    for found in sorted(
        (found for found in versions if found.is_last),
        key=lambda v: (not v.lies_there, FIRST_KEEPS.index(v.split), v.song, v.track_id),
    ):
        owner_elsewhere = next((held_out[s] for s in sorted(found.sounds) if s in held_out), None)
        if found.is_single and owner_elsewhere is not None:
            retired[found] = Retirement(owner_elsewhere.reason, owner_elsewhere.name)
            continue
        rivals = [
            owner
            for sound in sorted(found.sounds)
            for owner in owners.get(sound, [])
            if owner.split != found.split or _is_same(owner, found)
        ]
        if rivals:
            reason = DUPLICATE if found.lies_there else MOVED
            retired[found] = Retirement(reason, str(rivals[0]))
            continue
        for sound in found.sounds:
            owners.setdefault(sound, []).append(found)
    return retired


def _is_same(one: Version, other: Version) -> bool:
    """Whether two songs of one split are one. Without mixtures they must be the same sources."""
    return one.track_id == other.track_id or (bool(one.mixture) and one.mixture == other.mixture)


def settle_corpora(run: StageRun, root: str, songs: Sequence[LabelledSong]) -> int:
    """Bring ``retired`` in line with what is known of labelled songs; returns how many changed.

    Args:
        run: of ingest, with all it found written.
        root: path or URL of the labelled set, as in ``source_url``.
        songs: that lie there now.
    """
    _note_gone(run, root, songs)
    changed = _settle_corpus(run, run.corpus)
    # what this one holds out, or no longer does, is told of the single stems of the others
    others = {found.corpus for found in run.manifests.partitions(STEMS.name)} - {run.corpus}
    return changed + sum(_settle_corpus(run, corpus) for corpus in sorted(others))


def _note_gone(run: StageRun, root: str, songs: Sequence[LabelledSong]) -> None:
    """Record which songs of the set lie there no more."""
    listed = {(song.split, song.name) for song in songs}
    files = last_files(run.manifests, run.corpus)
    gone = [
        found
        for found in _versions(run.manifests, run.corpus, files)
        if found.is_last
        and found.lies_there
        and (found.split, found.song) not in listed
        and found.source_url.startswith(f"{root.rstrip('/')}/")
    ]
    if gone:
        note_files(run, ((found.split, found.song, "", found.track_id) for found in gone))


def _settle_corpus(run: StageRun, corpus: str) -> int:
    files = last_files(run.manifests, corpus)
    versions = _versions(run.manifests, corpus, files)
    retired = settle(versions, _held_out_elsewhere(run.manifests, corpus))
    wanted = {
        RetiredKey(STEMS.name, found.track_id, found.split, found.song): why
        for found, why in retired.items()
    }
    held = {(found.track_id, found.split) for found in versions if found not in retired}
    for found, why in retired.items():
        if (found.track_id, found.split) not in held:
            wanted[RetiredKey(ACTIVITY.name, found.track_id, found.split)] = why
    _reject_duplicates(run, corpus, retired)
    wanted |= _settled_rejects(run.manifests, corpus, files, retired)
    return retire(run, corpus, wanted, (STEMS.name, ACTIVITY.name, REJECTS.name))


def _held_out_elsewhere(manifests: Manifests, corpus: str) -> dict[str, Owner]:
    """The content hash of every sound that other corpora hold out, and whose it is."""
    columns = ["song", "split", "source", "level_db", "content_hash"]
    rows = [
        (FIRST_KEEPS.index(row["split"]), row["song"], partition.corpus, row)
        for partition in manifests.partitions(STEMS.name)
        if partition.corpus != corpus
        for row in manifests.rows(partition, columns)
        if row["split"] in LABELLED and row["level_db"] > SILENCE_DB
    ]
    owners: dict[str, Owner] = {}
    for _, song, other, row in sorted(rows, key=lambda found: found[:3]):
        name = f"labelled {row['split']} song {song} ({row['source']}) of corpus {other}"
        owners.setdefault(row["content_hash"], Owner(LABELLED[row["split"]], name))
    return owners


@dataclass(frozen=True)
class SeenFiles:
    """A song's files as they were last looked at.

    Attributes:
        identity: of the files; empty if they are gone.
        track_id: what they were; empty if they could not be used.
        last_track_id: the last audio that the song had.
    """

    identity: str
    track_id: str
    last_track_id: str


def last_files(manifests: Manifests, corpus: str) -> dict[tuple[str, str], SeenFiles]:
    """The files of every song of a corpus, by split and name, as they were last looked at."""
    rows = [
        row
        for partition in manifests.partitions(LABELLED_FILES.name, corpus)
        for row in manifests.rows(partition)
    ]
    found: dict[tuple[str, str], SeenFiles] = {}
    for row in sorted(rows, key=lambda row: row["seen_at"]):
        song = row["split"], row["song"]
        before = found[song].last_track_id if song in found else ""
        found[song] = SeenFiles(row["identity"], row["track_id"], row["track_id"] or before)
    return found


def note_files(run: StageRun, seen: Iterable[tuple[str, str, str, str]]) -> None:
    """Record what songs' files were found to be: split, name, identity and track."""
    now = run.now()
    rows = [
        {"split": split, "song": song, "identity": identity, "track_id": track_id, "seen_at": now}
        for split, song, identity, track_id in seen
    ]
    if rows:
        run.manifests.write(run.partition(LABELLED_FILES.name), [uuid4().hex], rows)


def _versions(
    manifests: Manifests, corpus: str, files: Mapping[tuple[str, str], SeenFiles]
) -> list[Version]:
    """Every version of every song of a corpus, sorted."""
    columns = ["track_id", "song", "split", "source", "source_url", "level_db", "content_hash"]
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    fingerprints: dict[tuple[str, str, str], str] = {}
    for partition in manifests.partitions(STEMS.name, corpus):
        for row in manifests.rows(partition, columns, retired=True):
            key = row["split"], row["song"], row["track_id"]
            found.setdefault(key, []).append(row)
            fingerprints[key] = partition.fingerprint
    like = likenesses(manifests, corpus)
    versions = []
    for (split, song, track_id), rows in sorted(found.items()):
        seen = files.get((split, song))
        versions.append(
            Version(
                split=split,
                song=song,
                track_id=track_id,
                mixture=next((r["content_hash"] for r in rows if r["source"] == MIXTURE), ""),
                sounds=frozenset(r["content_hash"] for r in rows if r["level_db"] > SILENCE_DB)
                | like.get(track_id, frozenset()),
                source_url=max(row["source_url"] for row in rows),
                lies_there=seen is None or bool(seen.identity),
                is_last=seen is None or seen.last_track_id in ("", track_id),
                fingerprint=fingerprints[split, song, track_id],
            )
        )
    return versions


def _reject_duplicates(run: StageRun, corpus: str, retired: Mapping[Version, Retirement]) -> None:
    """Songs that lie in the set and are not used are in ``rejects``, like any other such."""
    rejects: dict[Partition, list[dict[str, Any]]] = {}
    for found, why in sorted(retired.items(), key=lambda item: str(item[0])):
        if found.lies_there and why.reason in WAYS_OUT:
            made_by = run.fingerprint if corpus == run.corpus else found.fingerprint
            detail = f"same audio as {why.superseded_by}; {WAYS_OUT[why.reason]}"
            row = reject_row(run.stage, f"{found.split}/{found.song}", why.reason, detail)
            rejects.setdefault(Partition(REJECTS.name, corpus, made_by), []).append(row)
    for partition, rows in rejects.items():
        known = {
            (row["item"], row["reason"], row["detail"])
            for row in run.manifests.rows(partition, ["item", "reason", "detail"], retired=True)
        }
        new = [row for row in rows if (row["item"], row["reason"], row["detail"]) not in known]
        if new:
            run.manifests.write(partition, [uuid4().hex], new)


def _settled_rejects(
    manifests: Manifests,
    corpus: str,
    files: Mapping[tuple[str, str], SeenFiles],
    retired: Mapping[Version, Retirement],
) -> dict[RetiredKey, Retirement]:
    """The rejects of songs that are in use now, since they were mended."""
    refused = {(found.split, found.song) for found, why in retired.items()
               if why.reason in WAYS_OUT and found.lies_there}  # fmt: skip
    wanted = {}
    for partition in manifests.partitions(REJECTS.name, corpus):
        for row in manifests.rows(partition, ["item"], retired=True):
            split, _, song = row["item"].partition("/")
            seen = files.get((split, song))
            if seen is None or (split, song) in refused:
                continue
            if seen.track_id or not seen.identity:
                why = Retirement(REPLACED, f"labelled {split} song {song} of other files")
                wanted[RetiredKey(REJECTS.name, "", "", row["item"])] = why
    return wanted
