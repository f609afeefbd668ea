"""Labelled songs → canonical stems and rows of ``stems``, ``activity`` and ``rejects``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from demucs_core.activity import FLOOR_DB, ActivityConfig, active_frames, stream_level_db
from flows.ingest.tracks import ID_DIGITS, STAGE
from flows.inputs.forgotten import FORGOTTEN, forgotten
from flows.inputs.songs import MIXTURE
from flows.running.rejects import reject_row
from flows.running.stage import StageRun
from storage.canonical import PreparedAudio, Unusable, prepare, summed
from storage.fingerprint import short_hash
from storage.labelled.song import LabelledSong
from storage.listing import url_of
from storage.workspace import Workspace

MAX_LENGTH_DIFFERENCE_S = 0.5


@dataclass(frozen=True)
class StemBatch:
    """Songs that one Dask task decodes; `rewrite` writes audio that is there already too."""

    workspace: Workspace
    corpus: str
    fs: AbstractFileSystem
    songs: Sequence[LabelledSong]
    min_duration_s: float
    activity: ActivityConfig
    rewrite: bool = False


@dataclass(frozen=True)
class SongOutcome:
    """What became of a batch: the items it covers, and rows for three manifests."""

    items: list[str]
    stems: list[dict[str, Any]]
    activity: list[dict[str, Any]]
    rejects: list[dict[str, Any]]


def song_item(song: LabelledSong) -> str:
    """Name of a song in a partition's items."""
    return f"{song.split}/{song.name}"


def ingest_songs(batch: StemBatch) -> SongOutcome:
    """Decode a batch of songs, write their stems, and measure where each sounds."""
    outcome = SongOutcome([song_item(song) for song in batch.songs], [], [], [])
    for song in batch.songs:
        try:
            stems, activity = _ingest_song(batch, song)
        except Unusable as problem:
            reject = reject_row(STAGE, song_item(song), problem.reason, problem.detail)
            outcome.rejects.append(reject)
            continue
        outcome.stems.extend(stems)
        outcome.activity.extend(activity)
    return outcome


def commit_songs(run: StageRun, outcome: SongOutcome) -> None:
    """Write what became of a batch; ``stems`` last, since they make the batch count as done."""
    gone = forgotten(run.manifests)
    stems, rejects, refused = [], list(outcome.rejects), set()
    for row in outcome.stems:
        if row["track_id"] in gone:
            refused.add(f"{row['split']}/{row['song']}")
            run.workspace.remove(row["path"])
        else:
            stems.append(row)
    rejects += [reject_row(STAGE, item, *FORGOTTEN) for item in sorted(refused)]
    activity = [row for row in outcome.activity if row["track_id"] not in gone]
    if rejects:
        run.manifests.write(run.partition("rejects"), outcome.items, rejects)
    run.manifests.write(run.partition("activity"), outcome.items, activity)
    run.manifests.write(run.partition("stems"), outcome.items, stems)
    run.count(new_songs=len(outcome.items) - len(rejects))


def _ingest_song(
    batch: StemBatch, song: LabelledSong
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    music = batch.workspace.music
    if set(song.groups) != set(music.sources):
        raise Unusable("partially_labelled", f"knows {', '.join(song.groups)} alone")
    with ExitStack() as stack:
        audio: dict[str, PreparedAudio] = {}
        for source, parts in song.stems.items():
            takes = [
                stack.enter_context(
                    prepare(
                        batch.fs,
                        found.path,
                        sample_rate=music.sample_rate,
                        num_channels=music.num_channels,
                        stream=found.stream,
                        min_duration_s=batch.min_duration_s,
                        allow_silence=True,
                    )
                )
                for found in parts
            ]
            audio[source] = takes[0] if len(takes) == 1 else stack.enter_context(summed(takes))
        if song.mixture is None:
            audio[MIXTURE] = stack.enter_context(
                summed([audio[source] for source in music.sources])
            )
        else:
            audio[MIXTURE] = stack.enter_context(
                prepare(
                    batch.fs,
                    song.mixture.path,
                    sample_rate=music.sample_rate,
                    num_channels=music.num_channels,
                    stream=song.mixture.stream,
                    min_duration_s=batch.min_duration_s,
                )
            )
        _check_lengths(audio)
        return _write_song(batch, song, audio)


def _check_lengths(audio: dict[str, PreparedAudio]) -> None:
    mixture = audio[MIXTURE]
    for source, stem in audio.items():
        if abs(stem.duration_s - mixture.duration_s) > MAX_LENGTH_DIFFERENCE_S:
            raise Unusable(
                "lengths_differ",
                f"{source} lasts {stem.duration_s:.2f} s, the mixture {mixture.duration_s:.2f} s",
            )


def _write_song(
    batch: StemBatch, song: LabelledSong, audio: dict[str, PreparedAudio]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    music = batch.workspace.music
    gain_db = min(stem.gain_db for stem in audio.values())
    hashes = {source: stem.content_hash(gain_db) for source, stem in audio.items()}
    names = (MIXTURE, *music.sources)
    track_id = short_hash("/".join(hashes[source] for source in names), ID_DIGITS)
    num_samples = audio[MIXTURE].num_samples
    num_frames = -(-num_samples // music.hop_samples)
    level_db = {
        source: _fit(stream_level_db(audio[source].blocks(gain_db), music.hop_samples), num_frames)
        for source in names
    }
    stems, activity = [], []
    for source in names:
        stem = audio[source]
        path = f"audio/{batch.corpus}/{track_id}/{source}.wav"
        if batch.rewrite or not batch.workspace.exists(path):
            batch.workspace.put(path, partial(stem.write_wav, gain_db=gain_db))
        found = song.mixture if source == MIXTURE else song.stems[source][0]
        stems.append(
            {
                "track_id": track_id,
                "song": song.name,
                "split": song.split,
                "source": source,
                "path": path,
                "source_url": "" if found is None else url_of(batch.fs, found.path),
                "num_samples": num_samples,
                "sample_rate": music.sample_rate,
                "duration_s": num_samples / music.sample_rate,
                "gain_db": gain_db,
                "level_db": stem.level_db + gain_db - stem.gain_db,
                "content_hash": hashes[source],
            }
        )
        activity.append(
            {
                "track_id": track_id,
                "split": song.split,
                "source": source,
                "hop_samples": music.hop_samples,
                "active": active_frames(
                    level_db[source],
                    level_db[MIXTURE],
                    batch.activity,
                    music.hop_samples,
                    music.sample_rate,
                ),
                "level_db": level_db[source],
                "relative_db": batch.activity.relative_db,
                "absolute_db": batch.activity.absolute_db,
                "close_gap_s": batch.activity.close_gap_s,
            }
        )
    return stems, activity


def _fit(level_db: NDArray[np.float32], num_frames: int) -> NDArray[np.float32]:
    """Levels on the mixture's frames: a stem that ends earlier is silent from there on."""
    fitted = np.full(num_frames, FLOOR_DB, dtype=np.float32)
    kept = min(num_frames, len(level_db))
    fitted[:kept] = level_db[:kept]
    return fitted
