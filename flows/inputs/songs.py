"""The labelled set as the stages after ingest see it: manifests in, core types out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from demucs_core.activity import FLOOR_DB, ActivityConfig, power, to_db
from demucs_core.stem_tracks import StemTrack
from storage.errors import UserError
from storage.labelled.song import sources_of
from storage.music_format import MIXTURE
from storage.tables.manifests import Manifests, Partition


@dataclass(frozen=True)
class Song:
    """One labelled song, or a single stem.

    Attributes:
        track_id: name in the manifests.
        name: name in the labelled set.
        num_samples: length of the song.
        paths: canonical audio relative to the workspace, by source or by the name of a sum of
            several; and ``mixture``, which a single stem has none of.
        sources: of the workspace, in order.
    """

    track_id: str
    name: str
    num_samples: int
    paths: dict[str, str]
    sources: tuple[str, ...]

    @property
    def heard_path(self) -> str:
        """What the song is heard by: its mixture, or the single stem."""
        return self.paths.get(MIXTURE) or next(iter(self.paths.values()))

    @property
    def sums(self) -> tuple[str, ...]:
        """What is known of several sources together alone."""
        return tuple(name for name in self.paths if len(sources_of(name)) > 1)

    def knows(self, source: str) -> bool:
        """Whether the song has a source by itself."""
        return source in self.paths

    def stem_track(self) -> StemTrack:
        """The song as training examples want it."""
        place = {source: index for index, source in enumerate(self.sources)}
        groups = {
            tuple(place[source] for source in sources_of(name)): path
            for name, path in self.paths.items()
            if name != MIXTURE
        }
        ordered = dict(sorted(groups.items()))
        return StemTrack(
            track_id=self.track_id,
            num_samples=self.num_samples,
            paths=tuple(ordered.values()),
            groups=tuple(ordered),
        )


def load_songs(manifests: Manifests, stems: Partition, split: str) -> list[Song]:
    """The songs of one split, sorted by ``track_id``; a labelled set fits in memory."""
    columns = ["track_id", "song", "split", "source", "path", "num_samples"]
    sources = manifests.workspace.music.sources
    songs: dict[str, Song] = {}
    for row in manifests.rows(stems, columns):
        if row["split"] == split:
            song = songs.setdefault(
                row["track_id"], Song(row["track_id"], row["song"], row["num_samples"], {}, sources)
            )
            song.paths[row["source"]] = row["path"]
    return [songs[track_id] for track_id in sorted(songs)]


def learning_corpora(
    manifests: Manifests, labelled: str, libraries: Sequence[str]
) -> tuple[Partition, ...]:
    """The stems to learn from: those of the labelled corpus first, then of each library, once.

    Raises:
        UserError: one of them was not ingested.
    """
    names = dict.fromkeys([labelled, *libraries])
    return tuple(manifests.latest("stems", name) for name in names)


def know_sums(manifests: Manifests, corpora: Sequence[Partition], split: str = "train") -> bool:
    """Whether of any song of a split several sources are known together alone."""
    return any(song.sums for stems in corpora for song in load_songs(manifests, stems, split))


def made_from_libraries(manifests: Manifests, libraries: Sequence[Partition]) -> dict[str, object]:
    """What libraries add to a fingerprint: nothing, where there are none."""
    names = [f"{stems.fingerprint}/{manifests.digest(stems)}" for stems in libraries]
    return {"libraries": sorted(names)} if names else {}


def songs_once(manifests: Manifests, corpora: Sequence[Partition]) -> list[Song]:
    """The training songs and single stems of some corpora, each once."""
    songs: dict[str, Song] = {}
    for stems in corpora:
        for song in load_songs(manifests, stems, "train"):
            songs.setdefault(song.track_id, song)
    return list(songs.values())


def load_learning_songs(
    manifests: Manifests, corpora: Sequence[Partition], purpose: str
) -> list[Song]:
    """The training songs and single stems of some corpora, each once.

    Raises:
        UserError: they are not enough to make examples of; says what is missing.
    """
    found = songs_once(manifests, corpora)
    names = ", ".join(repr(stems.corpus) for stems in corpora)
    require_songs(found, corpora[0].corpus, "train", purpose)
    sources = manifests.workspace.music.sources
    nobody = [source for source in sources if not any(song.knows(source) for song in found)]
    if nobody and not any(MIXTURE in song.paths for song in found):
        raise UserError(
            f"corpora {names} have single stems alone, and none of {', '.join(nobody)}: {purpose} "
            "needs whole songs or a stem of each source; ingest some, and name them in libraries"
        )
    return found


@dataclass(frozen=True)
class HeldOut:
    """A song that training must not hear: of which split, and its name."""

    split: str
    song: str


def held_out_audio(manifests: Manifests) -> dict[str, HeldOut]:
    """The content hash of every test and validation song's audio in the workspace."""
    rows = [
        row
        for stems in manifests.partitions("stems")
        for row in manifests.rows(stems, ["content_hash", "song", "split"])
        if row["split"] != "train"
    ]
    rows.sort(key=lambda row: (row["split"] == "test", row["song"]))
    return {row["content_hash"]: HeldOut(row["split"], row["song"]) for row in rows}


def require_songs(songs: list[Song], corpus: str, split: str, purpose: str) -> list[Song]:
    """The songs, or a clear error if there are none.

    Raises:
        UserError: the split is empty.
    """
    if not songs:
        raise UserError(
            f"corpus {corpus!r} has no {split} songs, and {purpose} needs them; add songs to the "
            f"labelled set's {split}/ folder and ingest it again"
        )
    return songs


@dataclass(frozen=True)
class Activity:
    """Where one song's sources sound.

    Attributes:
        active: ``(S, F)`` bool.
        level_db: ``(S, F)`` level of each stem.
        mixture_level_db: ``(F,)`` level of the mixture, or of a single stem.
        known: which sources the song has by itself; of the others nothing is active, and the
            first of them has the level of all of them together.
    """

    active: NDArray[np.bool_]
    level_db: NDArray[np.float32]
    mixture_level_db: NDArray[np.float32]
    known: tuple[bool, ...]


def activity_definition(manifests: Manifests, activity: Partition) -> ActivityConfig:
    """What ingest was told to take for sounding, as every row of the partition says."""
    names = [each.name for each in fields(ActivityConfig)]
    row = next(iter(manifests.rows(activity, names)), None)
    if row is None:
        return ActivityConfig()
    # Columns are float32: 0.3 comes back as 0.30000001.
    return ActivityConfig(**{name: float(str(np.float32(row[name]))) for name in names})


def load_activity(manifests: Manifests, activity: Partition, split: str) -> dict[str, Activity]:
    """The activity of every song of one split, by ``track_id``."""
    sources = manifests.workspace.music.sources
    columns = ["track_id", "split", "source", "active", "level_db"]
    rows: dict[str, dict[str, tuple[list[bool], list[float]]]] = {}
    for row in manifests.rows(activity, columns):
        if row["split"] == split:
            rows.setdefault(row["track_id"], {})[row["source"]] = (row["active"], row["level_db"])
    return {track_id: _activity(found, sources) for track_id, found in rows.items()}


def load_learning_activity(
    manifests: Manifests, corpora: Sequence[Partition]
) -> dict[str, Activity]:
    """The activity of what :func:`load_learning_songs` gives."""
    activity: dict[str, Activity] = {}
    for stems in reversed(corpora):
        of_stems = Partition("activity", stems.corpus, stems.fingerprint)
        activity |= load_activity(manifests, of_stems, "train")
    return activity


def _activity(
    found: Mapping[str, tuple[list[bool], list[float]]], sources: Sequence[str]
) -> Activity:
    known = tuple(source in found for source in sources)
    own = found.get(MIXTURE) or next(iter(found.values()))
    mixture_level_db = np.array(own[1], dtype=np.float32)
    active = np.zeros((len(sources), len(mixture_level_db)), dtype=np.bool_)
    level_db = np.full(active.shape, FLOOR_DB, dtype=np.float32)
    for place, source in enumerate(sources):
        if known[place]:
            active[place], level_db[place] = found[source]
    if not all(known):
        others = power(mixture_level_db) - power(level_db[list(known)]).sum(axis=0)
        level_db[known.index(False)] = to_db(np.maximum(others, 0.0))
    return Activity(active, level_db, mixture_level_db, known)
