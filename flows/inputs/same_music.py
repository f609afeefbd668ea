"""The music of labelled songs that are held out, known by its prints in whatever encoding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from demucs_core.duplicates.known import KnownPrints
from demucs_core.duplicates.overlap import Overlap
from flows.inputs.songs import HeldOut
from storage.decoding.prints import ALGORITHM, ITEM_S, Print
from storage.fingerprint import digest, fingerprint
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import DUPLICATES, PRINTS, STEMS

HELD_OUT = ("valid", "test")


@dataclass(frozen=True, kw_only=True)
class PrintedSound:
    """A track, or the mixture or a stem of a labelled song, and its print.

    Attributes:
        split: of the song; empty for a track.
        song: its name; empty for a track.
    """

    track_id: str
    source: str
    corpus: str
    items: Print
    split: str = ""
    song: str = ""

    def __str__(self) -> str:
        if self.song:
            return f"labelled {self.split} song {self.song} ({self.source})"
        return f"track {self.track_id} of corpus {self.corpus}"


@dataclass(frozen=True)
class SameMusic:
    """What some audio has in common with a sound."""

    sound: PrintedSound
    overlap: Overlap

    def __str__(self) -> str:
        overlap = self.overlap
        return (
            f"{overlap.num_items * ITEM_S:.0f} s from {overlap.start * ITEM_S:.0f} s on are "
            f"{self.sound}, from {overlap.other_start * ITEM_S:.0f} s on"
        )

    @property
    def reason(self) -> str:
        """Why audio that holds it is not used."""
        return f"labelled_{self.sound.split}"

    def row(self, track_id: str, num_items: int) -> dict[str, Any]:
        """As a row of ``duplicates``, of a track whose print has so many items."""
        found = self.overlap
        return {
            "track_id": track_id,
            "other_id": self.sound.track_id,
            "other_corpus": self.sound.corpus,
            "other_source": self.sound.source,
            "reason": self.reason if self.sound.song else "near_duplicate",
            "start_s": found.start * ITEM_S,
            "other_start_s": found.other_start * ITEM_S,
            "overlap_s": found.num_items * ITEM_S,
            "share": found.num_items / max(num_items, 1),
            "error_rate": found.error_rate,
        }


class SoundsHeldOut:
    """The sounds of labelled songs that others are compared with.

    Args:
        sounds: their prints.
    """

    def __init__(self, sounds: Iterable[PrintedSound]) -> None:
        self._sounds = list(sounds)
        self._known = KnownPrints(sound.items for sound in self._sounds)

    def __len__(self) -> int:
        return len(self._sounds)

    @property
    def name(self) -> str:
        """Of these sounds: a fingerprint that other ones do not have."""
        keys = sorted(f"{each.split}/{each.song}/{each.track_id}/{each.source}"
                      for each in self._sounds)  # fmt: skip
        return fingerprint("held-out", 1, sounds=digest(keys))

    def find(self, items: Print) -> SameMusic | None:
        """The sound that some audio has most in common with; none of it, mostly."""
        found = self._known.find(items)
        if not found:
            return None
        place, overlap = max(found, key=lambda each: each[1].num_items)
        return SameMusic(self._sounds[place], overlap)


def sounds_held_out(manifests: Manifests, splits: Sequence[str] = HELD_OUT) -> SoundsHeldOut:
    """The sounds of all labelled songs of a workspace that are held out, or were once."""
    found: dict[tuple[str, str], PrintedSound] = {}
    for stems in manifests.partitions(STEMS.name):
        songs: dict[str, tuple[str, str]] = {}
        for retired in (True, False):  # what a song is now comes over what it was
            columns = ["track_id", "split", "song"]
            for row in manifests.rows(stems, columns, retired=retired):
                songs[row["track_id"]] = row["split"], row["song"]
        for sound in printed(manifests, Partition(PRINTS.name, stems.corpus, stems.fingerprint)):
            split, song = songs.get(sound.track_id, ("", ""))
            if split in splits:
                found[sound.track_id, sound.source] = PrintedSound(
                    track_id=sound.track_id, source=sound.source, corpus=sound.corpus,
                    items=sound.items, split=split, song=song,
                )  # fmt: skip
    return SoundsHeldOut(found[key] for key in sorted(found))


def uncompared_copies(manifests: Manifests, tracks: Partition) -> dict[str, HeldOut]:
    """The tracks that hold music of songs held out, where ingest has not compared them yet.

    It marks a corpus that it has compared with such songs by a partition of ``duplicates`` of
    their name.
    """
    sounds = sounds_held_out(manifests)
    compared = Partition(DUPLICATES.name, tracks.corpus, sounds.name)
    if not len(sounds) or compared in manifests.partitions(DUPLICATES.name, tracks.corpus):
        return {}
    found = {}
    for track in printed(manifests, replace(tracks, table=PRINTS.name)):
        same = sounds.find(track.items)
        if same is not None:
            found[track.track_id] = HeldOut(same.sound.split, same.sound.song)
    return found


def printed(manifests: Manifests, prints: Partition) -> Iterator[PrintedSound]:
    """The prints of a partition, row after row."""
    columns = ["track_id", "source", "algorithm", "items"]
    for batch in manifests.scan(prints, columns, retired=True):
        lists = cast("pa.ListArray[Any]", batch["items"])
        items, edges = lists.flatten().to_numpy(), lists.offsets.to_numpy()
        names = zip(*(batch[name].to_pylist() for name in columns[:3]), strict=True)
        for place, (track_id, source, algorithm) in enumerate(names):
            if algorithm == ALGORITHM:
                own = items[edges[place] - edges[0] : edges[place + 1] - edges[0]]
                yield PrintedSound(
                    track_id=track_id, source=source, corpus=prints.corpus,
                    items=np.asarray(own, np.uint32),
                )  # fmt: skip
