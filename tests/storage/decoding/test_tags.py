"""What a file says of its music, and how loud it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from storage.decoding.loudness import LEAST_LUFS, Loudness
from storage.decoding.tags import LONGEST, known_tags, read_tags

RATE = 44_100


def write_tagged(path: Path, codec: str, tags: dict[str, str]) -> None:
    rate = 48_000 if codec == "libopus" else RATE
    with av.open(str(path), "w") as output:
        output.metadata.update(tags)
        stream: Any = output.add_stream(codec, rate=rate, layout="stereo")
        audio = np.zeros((2, RATE), np.float32)
        frame = av.AudioFrame.from_ndarray(audio, format="fltp", layout="stereo")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="stereo", rate=rate,
            frame_size=stream.codec_context.frame_size or None,
        )  # fmt: skip
        for resampled in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp3", "libmp3lame"),
        ("a.m4a", "aac"),
        ("a.flac", "flac"),
        ("a.opus", "libopus"),
        ("a.wav", "pcm_s16le"),
    ],
)
def test_tags_have_our_names_whatever_the_container_calls_them(
    tmp_path: Path, name: str, codec: str
) -> None:
    tags = {"title": "Blå", "artist": "Ann", "album": "One", "date": "1999-07", "genre": "Polka"}
    path = tmp_path / name
    write_tagged(path, codec, tags)
    with path.open("rb") as file:
        found = read_tags(file)
    assert found == {
        "title": "Blå", "artist": "Ann", "album": "One", "year": 1999, "genre": "Polka",
        "licence": "", "isrc": "",
    }  # fmt: skip


def test_tags_of_a_wav_may_stand_behind_its_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_tagged(path, "pcm_s16le", {"title": "Blue"})
    content = path.read_bytes()
    start, stop = content.index(b"LIST"), content.index(b"data")
    path.write_bytes(content[:start] + content[stop:] + content[start:stop])
    with path.open("rb") as file:
        assert read_tags(file)["title"] == "Blue"


def test_what_is_no_file_of_music_says_nothing_and_what_is_said_is_kept_short(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"no music" * 100)
    with path.open("rb") as file:
        assert read_tags(file) == known_tags({})
    long = known_tags({"Title": "a\nb\x1b" + "x" * 10_000, "TSRC": "DEA123", "year": "MCM"})
    assert long["title"] == "a b " + "x" * (LONGEST - 4)
    assert (long["isrc"], long["year"]) == ("DEA123", 0)


def test_loudness_is_that_of_the_standard() -> None:
    """EBU Tech 3341, case 1: a stereo sine of 1 kHz at -23 dBFS has -23 LUFS."""
    time_s = np.arange(20 * RATE) / RATE
    sine = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * time_s)
    pcm = np.rint(32_768 * np.stack([sine, sine], axis=1)).astype(np.int16)
    meter = Loudness(RATE, 2)
    for start in range(0, len(pcm), 100_001):
        meter.feed(pcm[start : start + 100_001])
    assert meter.finish() == pytest.approx(-23.0, abs=0.1)
    assert Loudness(RATE, 1).finish() == LEAST_LUFS
