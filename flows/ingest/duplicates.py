"""Tracks that hold music which another track, or a song held out, holds too → ``duplicates``.

Exact copies are told by their hashes, and never come so far. What is compared here is what it
sounds like, so that an encoding, a gain, a leader of silence or a cut hides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from flows.ingest.retiring import retire
from flows.ingest.similar import Items, find_pairs
from flows.inputs.same_music import HELD_OUT, PrintedSound, SameMusic, printed, sounds_held_out
from flows.running.stage import StageRun
from storage.decoding.prints import HOW_TO_GET, NO_ITEMS, can_print
from storage.music_format import MIXTURE
from storage.tables.manifests import Manifests, Partition
from storage.tables.retired import RetiredKey, Retirement
from storage.tables.schemas import DUPLICATES, PRINTS, STEMS, TRACKS

ITEMS_A_PART = 16_384


def retire_copies_of_held_out(run: StageRun, corpus: str | None = None, since: str = "") -> int:
    """Retire the tracks that hold music of songs held out; returns how many changed.

    Ingest refuses such tracks; this is for those that were there before the songs. A corpus is
    compared with them once, which a partition of ``duplicates`` says that has their name.

    Args:
        run: of ingest.
        corpus: whose tracks; None for all corpora.
        since: the name of the sounds that the run has compared its own tracks with.
    """
    sounds, changed = sounds_held_out(run.manifests), 0
    if not len(sounds):
        return 0
    corpora = {found.corpus for found in run.manifests.partitions(TRACKS.name, corpus)}
    for name in sorted(corpora):
        compared = Partition(DUPLICATES.name, name, sounds.name)
        is_known = compared in run.manifests.partitions(DUPLICATES.name, name)
        if is_known and since in ("", sounds.name):
            continue
        rows, wanted = [], {}
        for track in _printed_tracks(run.manifests, name):
            same = sounds.find(track.items)
            if same is not None:
                key = RetiredKey(TRACKS.name, track.track_id)
                wanted[key] = Retirement(same.reason, f"the same music: {same}")
                rows.append(same.row(track.track_id, len(track.items)))
        changed += retire(run, name, wanted, ())
        run.manifests.write(run.elsewhere(compared), [since or sounds.name], rows)
    return changed


def tell_of_unprinted(run: StageRun) -> None:
    """Say where songs held out have no print, or none can be made: their copies are not known."""
    if not can_print():
        run.notes.append(
            f"no acoustic fingerprints are made, since {HOW_TO_GET}; so the same music in another "
            "encoding is not known, be it a test song"
        )
        return
    held_out: set[str] = set()
    known: set[str] = set()
    for stems in run.manifests.partitions(STEMS.name):
        rows = run.manifests.rows(stems, ["track_id", "split"])
        held_out |= {row["track_id"] for row in rows if row["split"] in HELD_OUT}
        prints = Partition(PRINTS.name, stems.corpus, stems.fingerprint)
        known |= {row["track_id"] for row in run.manifests.rows(prints, ["track_id"])}
    if held_out - known:
        run.notes.append(
            f"{len(held_out - known)} songs held out have no acoustic fingerprint, so their copies "
            "in other encodings are not known; ingest their set once more with --complete"
        )


def note_duplicates(run: StageRun) -> int:
    """Compare the tracks of a run's corpus that are new with all others; returns how many pairs.

    Of two with the same music the one that was compared before is the other's ``other_id``; of
    those that are new together, the one whose file comes first by its address.
    """
    manifests = run.manifests
    compared = {
        item.removeprefix("track|")
        for partition in manifests.partitions(DUPLICATES.name)
        for item in manifests.items(partition)
    }
    corpus_of, new = _numbered(manifests, run.corpus, compared)
    if not new:
        return 0
    are_new = set(new)
    tracks = [*(track_id for track_id in corpus_of if track_id not in are_new), *new]
    numbers = {track_id: number for number, track_id in enumerate(tracks)}
    first_new = len(tracks) - len(new)
    rows: dict[str, list[dict[str, Any]]] = {}
    for pair in find_pairs(lambda: _numbered_prints(manifests, corpus_of, numbers), first_new):
        track_id, other = tracks[pair.later], tracks[pair.earlier]
        same = SameMusic(_track(other, corpus_of[other]), pair.overlap)
        rows.setdefault(track_id, []).append(same.row(track_id, pair.num_items))
    for start in range(0, len(new), ITEMS_A_PART):
        covered = new[start : start + ITEMS_A_PART]
        found = [row for track_id in covered for row in rows.get(track_id, [])]
        items = [f"track|{track_id}" for track_id in covered]
        manifests.write(run.partition(DUPLICATES.name), items, found)
    if rows:
        run.count(near_duplicates=len(rows))
        _tell(run, rows)
    return sum(map(len, rows.values()))


def _tell(run: StageRun, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    [first, *_] = next(islice(rows.values(), 1))
    note = (
        f"{len(rows)} tracks hold music that another track holds, such as {first['track_id']}: "
        f"{first['overlap_s']:.0f} s are {first['other_id']} of corpus {first['other_corpus']}; "
        f"{run.workspace.command('manifests show duplicates')} names all"
    )
    run.warn(note)


def _numbered(
    manifests: Manifests, corpus: str, compared: set[str]
) -> tuple[dict[str, str], list[str]]:
    """The corpora of current tracks with prints, and those of one that are new, by address."""
    corpus_of: dict[str, str] = {}
    urls: dict[str, str] = {}
    for partition in manifests.partitions(TRACKS.name):
        prints = Partition(PRINTS.name, partition.corpus, partition.fingerprint)
        printed_ids = {row["track_id"] for row in manifests.rows(prints, ["track_id"])}
        for row in manifests.rows(partition, ["track_id", "source_url"]):
            if row["track_id"] not in printed_ids:
                continue
            corpus_of.setdefault(row["track_id"], partition.corpus)
            if partition.corpus == corpus and row["track_id"] not in compared:
                urls.setdefault(row["track_id"], row["source_url"])
    new = sorted(urls, key=lambda track_id: (urls[track_id], track_id))
    known = {track_id: corpus_of[track_id] for track_id in sorted(corpus_of)}
    return known, new


def _numbered_prints(
    manifests: Manifests, corpus_of: Mapping[str, str], numbers: Mapping[str, int]
) -> Iterator[tuple[int, Items]]:
    for corpus in sorted(set(corpus_of.values())):
        for track in _printed_tracks(manifests, corpus):
            if corpus_of.get(track.track_id) == corpus:
                yield numbers[track.track_id], track.items


def _printed_tracks(manifests: Manifests, corpus: str) -> Iterator[PrintedSound]:
    """The prints of a corpus's tracks, each once, though several partitions may have it."""
    seen: set[str] = set()
    for partition in manifests.partitions(TRACKS.name, corpus):
        prints = Partition(PRINTS.name, corpus, partition.fingerprint)
        for track in printed(manifests, prints):
            if track.track_id not in seen:
                seen.add(track.track_id)
                yield track


def _track(track_id: str, corpus: str) -> PrintedSound:
    return PrintedSound(track_id=track_id, source=MIXTURE, corpus=corpus, items=NO_ITEMS)
