"""How much music a chain works on, as far as a listing and a few files' headers tell."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import soundfile

from flows.running.chain import Chain
from storage.finding.discovery import find_audio
from storage.finding.listing import is_local
from storage.labelled.sets import find_songs
from storage.tables.manifests import Manifests
from storage.tables.schemas import STEMS, TRACKS

SONG_S = 240.0
"""Length that a song is taken to have where nobody looked."""

MAX_LOOKED_AT = 8


@dataclass(frozen=True, kw_only=True)
class Amount:
    """Songs and tracks, and how long they are together.

    Attributes:
        num_songs: of the labelled set.
        num_test: of them, test songs.
        songs_s: seconds of all songs.
        num_tracks: unlabelled ones.
        tracks_s: seconds of all tracks.
    """

    num_songs: int
    num_test: int
    songs_s: float
    num_tracks: int
    tracks_s: float


def amount_of(chain: Chain) -> Amount:
    """How much there is: what is in the workspace, and what ``ingest`` would find if it runs."""
    manifests, told = chain.manifests(), chain.parameters
    splits, songs_s = _songs(chain, manifests)
    num_tracks, tracks_s = 0, 0.0
    for partition in manifests.partitions(TRACKS.name, told.corpus):
        for row in manifests.rows(partition, ["duration_s"]):
            num_tracks, tracks_s = num_tracks + 1, tracks_s + row["duration_s"]
    if "ingest" in told.stages:
        num_tracks, tracks_s = max((num_tracks, tracks_s), _files(told.unlabelled))
    return Amount(
        num_songs=len(splits),
        num_test=splits.count("test"),
        songs_s=songs_s,
        num_tracks=num_tracks,
        tracks_s=tracks_s,
    )


def _songs(chain: Chain, manifests: Manifests) -> tuple[list[str], float]:
    """The split of each labelled song, and their seconds."""
    told = chain.parameters
    if manifests.partitions(STEMS.name, told.labelled_corpus):
        stems = manifests.latest(STEMS.name, told.labelled_corpus)
        rows = {
            row["track_id"]: row
            for row in manifests.rows(stems, ["track_id", "split", "duration_s"])
        }
        return [row["split"] for row in rows.values()], sum(
            row["duration_s"] for row in rows.values()
        )
    if "ingest" not in told.stages:
        return [], 0.0
    options = chain.options("ingest")
    how = {name: options[name] for name in ("stems", "absent", "valid_share")}
    sources = manifests.workspace.music.sources
    _, found = find_songs(told.labelled, sources, **how, require_test=False)
    return [song.split for song in found], SONG_S * len(found)


def _files(place: str) -> tuple[int, float]:
    """How many files there are, and about how many seconds of music."""
    fs, files = find_audio(place)
    lengths = []
    for file in files[:: -(-len(files) // MAX_LOOKED_AT)] if is_local(fs) else ():
        with suppress(soundfile.LibsndfileError):  # of a format that it does not know, or broken
            lengths.append(soundfile.info(file.path).duration)
    return len(files), len(files) * (float(np.mean(lengths)) if lengths else SONG_S)
