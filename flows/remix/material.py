"""What recipes are drawn from: a worker reads it once a run, for all its batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from demucs_core.remixing.matching import TempoKey
from demucs_core.remixing.stem_pool import LabelledSong, StemPool
from flows.inputs.songs import Song, load_learning_activity, load_learning_songs
from flows.remix.tempos import load_tempos
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace


@dataclass(frozen=True)
class Material:
    """Where it lies.

    Attributes:
        workspace: in which.
        stems: of the labelled songs, then of libraries.
        tempos: of the corpus and of each of these, where they are matched.
        run: tells this run from others. A worker may outlive it, and by the next one other songs
            may be current in the same partitions, or more tempos be known.
    """

    workspace: Workspace
    stems: tuple[Partition, ...]
    tempos: tuple[Partition, ...]
    run: str


@dataclass(frozen=True)
class AtHand:
    """The stems to draw from, the songs that they are of, and tempo and key of the tracks."""

    pool: StemPool
    songs: dict[str, Song]
    tempo_keys: dict[str, TempoKey]


@lru_cache(maxsize=1)
def read_once(material: Material) -> AtHand:
    """Read it, unless it was the last that was read."""
    manifests = Manifests(material.workspace)
    songs = load_learning_songs(manifests, material.stems, "remixing")
    activity = load_learning_activity(manifests, material.stems)
    tempo_keys: list[dict[str, TempoKey]] = [
        load_tempos(manifests, partition) for partition in material.tempos
    ]
    of_songs = {track_id: found for each in tempo_keys[1:] for track_id, found in each.items()}
    pool = StemPool(
        [
            LabelledSong(
                track_id=song.track_id,
                num_samples=song.num_samples,
                active=activity[song.track_id].active,
                level_db=activity[song.track_id].level_db,
                tempo_key=of_songs.get(song.track_id),
            )
            for song in songs
        ],
        material.workspace.music.sources,
        hop_samples=material.workspace.music.hop_samples,
        sample_rate=material.workspace.music.sample_rate,
    )
    tracks = tempo_keys[0] if tempo_keys else {}
    return AtHand(pool, {song.track_id: song for song in songs}, tracks)
