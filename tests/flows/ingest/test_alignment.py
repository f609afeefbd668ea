"""A stem that is early or late is found, and named; one that does not add up otherwise is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from flows.ingest.song_audio import song_audio
from storage.decoding.chunk import Unusable
from storage.labelled.song import LabelledSong, StemSource
from storage.music_format import MusicFormat

MUSIC = MusicFormat()
LENGTH = 4 * MUSIC.sample_rate


def write_song(folder: Path, stems: dict[str, NDArray[np.float64]], gain: float) -> LabelledSong:
    audio = {**stems, "mixture": np.tanh(gain * sum(stems.values())) / gain}
    paths = {name: folder / f"{name}.flac" for name in audio}
    for name, path in paths.items():
        soundfile.write(path, audio[name], MUSIC.sample_rate, subtype="PCM_24")
    return LabelledSong(
        name="a",
        split="train",
        mixture=StemSource(str(paths["mixture"])),
        stems={name: (StemSource(str(paths[name])),) for name in stems},
    )


@pytest.fixture
def stems() -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    return {name: 0.05 * rng.standard_normal((LENGTH, 2)) for name in MUSIC.sources}


def take(song: LabelledSong) -> float:
    with song_audio(LocalFileSystem(), song, MUSIC, min_duration_s=0.0) as audio:
        return audio.residual_db


@pytest.mark.parametrize(
    ("name", "lost", "told"),
    [
        ("drums", 4096, ("drums, drums.flac", "4096 samples early")),
        ("mixture", 1105, ("mixture, mixture.flac", "1105 samples early")),
        ("vocals", -500, ("vocals, vocals.flac", "500 samples late")),
    ],
)
def test_a_file_that_has_lost_something_is_named(
    tmp_path: Path,
    stems: dict[str, NDArray[np.float64]],
    name: str,
    lost: int,
    told: tuple[str, str],
) -> None:
    song = write_song(tmp_path, stems, 0.01)
    assert take(song) < -60
    path = tmp_path / f"{name}.flac"
    audio, rate = soundfile.read(path)
    from_there = audio[LENGTH // 4 + lost :]
    soundfile.write(path, np.concatenate([audio[: LENGTH // 4], from_there]), rate)
    with pytest.raises(Unusable) as caught:
        take(song)
    assert caught.value.reason == "misaligned"
    assert all(words in caught.value.detail for words in told)


def test_a_mixture_through_a_limiter_is_kept(
    tmp_path: Path, stems: dict[str, NDArray[np.float64]]
) -> None:
    assert take(write_song(tmp_path, stems, 20.0)) > -10


def test_one_frame_of_a_stem_that_is_damaged_moves_nothing(
    tmp_path: Path, stems: dict[str, NDArray[np.float64]]
) -> None:
    song = write_song(tmp_path, stems, 0.01)
    path = tmp_path / "drums.flac"
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\xf8", len(content) // 3) + 2] ^= 1
    path.write_bytes(content)
    assert -40 < take(song) < -15
