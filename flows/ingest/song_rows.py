"""A decoded song → its canonical stems, and its rows of ``stems`` and ``activity``."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from demucs_core.activity import FLOOR_DB, ActivityConfig, active_frames, stream_level_db
from flows.ingest.prints import hash_and_print, print_rows
from flows.ingest.song_audio import SongAudio
from flows.running.held_out import SILENCE_DB
from storage.decoding.canonical import PreparedAudio
from storage.finding.listing import url_of
from storage.fingerprint import ID_DIGITS, short_hash
from storage.labelled.song import LabelledSong, sources_of
from storage.music_format import MIXTURE
from storage.workspace import Workspace


def write_stems(
    workspace: Workspace,
    corpus: str,
    fs: AbstractFileSystem,
    song: LabelledSong,
    song_audio: SongAudio,
    *,
    rewrite: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write a song's stems, and its mixture where it has one.

    Args:
        workspace: where to.
        corpus: as what.
        fs: where its files are.
        song: which files they are.
        song_audio: what is in them.
        rewrite: write audio that is there already too.

    Returns:
        Their rows of ``stems``, and of ``prints`` those of the ones that sound.
    """
    music = workspace.music
    audio = _by_name(song_audio)
    gain_db = _gain_db(audio)
    heard = {name: hash_and_print(stem, gain_db) for name, stem in audio.items()}
    hashes = {name: content_hash for name, (content_hash, _) in heard.items()}
    is_usual = tuple(audio) == (MIXTURE, *music.sources)
    # of others the names tell as well: the same audio may be another source's
    parts = hashes.values() if is_usual else (f"{name}:{hashes[name]}" for name in hashes)
    track_id = short_hash("/".join(parts), ID_DIGITS)
    num_samples = song_audio.whole.num_samples
    rows, prints = [], []
    for name, stem in audio.items():
        path = f"audio/{corpus}/{track_id}/{_file_name(name)}.wav"
        if rewrite or not workspace.exists(path):
            workspace.put(path, partial(stem.write_wav, gain_db=gain_db))
        level_db = stem.level_db + gain_db - stem.gain_db
        if level_db > SILENCE_DB:
            prints += print_rows(track_id, name, heard[name][1])
        urls = _urls(fs, song, name)
        rows.append(
            {
                "track_id": track_id,
                "song": song.name,
                "split": song.split,
                "source": name,
                "path": path,
                "source_url": urls[0] if urls else "",
                "take_urls": "\n".join(urls[1:]),
                "num_samples": num_samples,
                "sample_rate": music.sample_rate,
                "duration_s": num_samples / music.sample_rate,
                "padded_s": (num_samples - stem.num_samples) / music.sample_rate,
                "residual_db": song_audio.residual_db,
                "gain_db": gain_db,
                "level_db": level_db,
                "content_hash": hashes[name],
            }
        )
    return rows, prints


def activity_rows(
    workspace: Workspace,
    track_id: str,
    song: LabelledSong,
    song_audio: SongAudio,
    config: ActivityConfig,
) -> list[dict[str, Any]]:
    """Where the mixture sounds, and each source that is known by itself: rows of ``activity``.

    Of a single stem nobody knows what goes with it: it is as audible as it is alone.
    """
    music = workspace.music
    audio = _by_name(song_audio)
    gain_db = _gain_db(audio)
    num_frames = -(-song_audio.whole.num_samples // music.hop_samples)
    level_db = {
        name: _fit(stream_level_db(stem.blocks(gain_db), music.hop_samples), num_frames)
        for name, stem in audio.items()
        if name in (MIXTURE, *music.sources)
    }
    return [
        {
            "track_id": track_id,
            "split": song.split,
            "source": name,
            "hop_samples": music.hop_samples,
            "active": active_frames(
                levels, level_db.get(MIXTURE, levels), config, music.hop_samples, music.sample_rate
            ),
            "level_db": levels,
            "relative_db": config.relative_db,
            "absolute_db": config.absolute_db,
            "close_gap_s": config.close_gap_s,
            "context_s": config.context_s,
        }
        for name, levels in level_db.items()
    ]


def _by_name(song_audio: SongAudio) -> dict[str, PreparedAudio]:
    mixture = song_audio.mixture
    return ({MIXTURE: mixture} if mixture else {}) | song_audio.stems


def _gain_db(audio: dict[str, PreparedAudio]) -> float:
    """One gain for all, so that the stems still add up."""
    return min(stem.gain_db for stem in audio.values())


def _file_name(name: str) -> str:
    """A stem's file; that of many sources would have too long a name."""
    members = sources_of(name)
    return name if len(members) == 1 else f"sum-of-{len(members)}-{short_hash(name, 8)}"


def _urls(fs: AbstractFileSystem, song: LabelledSong, name: str) -> list[str]:
    """The files that a stem was made of: the mixture's where it is what that holds besides."""
    is_mixture = name in (MIXTURE, song.rest)
    parts = ((song.mixture,) if song.mixture else ()) if is_mixture else song.stems[name]
    return [url_of(fs, part.path) for part in parts]


def _fit(level_db: NDArray[np.float32], num_frames: int) -> NDArray[np.float32]:
    """Levels on the song's frames: a stem that ends earlier is silent from there on."""
    fitted = np.full(num_frames, FLOOR_DB, dtype=np.float32)
    kept = min(num_frames, len(level_db))
    fitted[:kept] = level_db[:kept]
    return fitted
