"""What earlier versions did not make of tracks, and where their tags are read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.ingest.completing import AudioBatch, AudioToHear, hear, of_same_place
from storage.workspace import Workspace
from tests.flows.conftest import mix, play, write


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("/music/a.wav", "/music"),
        ("/other/a::b.wav", "/music"),
        ("s3://bucket/old/a.wav", "s3://bucket/new"),
        ("http://there.org/a.wav", "http://there.org/list.m3u"),
    ],
)
def test_files_of_the_same_place_are_asked(url: str, source: str) -> None:
    assert of_same_place(url, source)


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("http://127.0.0.1:8080/admin", "/music"),
        ("file::http://127.0.0.1/admin", "/music"),
        ("zip://a.wav::http://127.0.0.1/a.zip", "/music"),
        ("memory://a.wav", "/music"),
        ("http://127.0.0.1/a.wav", "http://there.org/a.wav"),
        ("http://there.org/a::http://127.0.0.1/a.wav", "http://there.org/a.wav"),
        ("s3://bucket/a.wav", "s3://other/a.wav"),
        ("/etc/a.wav", "s3://other/a.wav"),
        ("http://[/a.wav", "http://there.org/a.wav"),
    ],
)
def test_a_row_names_no_place_that_nobody_named(url: str, source: str) -> None:
    assert not of_same_place(url, source)


def test_audio_that_is_gone_keeps_none_of_the_others_waiting(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"), create=True)
    write(tmp_path / "ws" / "audio" / "music" / "b.wav", mix(play(1)))
    audio = [
        AudioToHear(
            track_id=name, source="mixture", path=f"audio/music/{name}.wav", source_url="",
            make_print=False, measure=True,
        )
        for name in "ab"
    ]  # fmt: skip
    heard = hear(AudioBatch(workspace, audio))
    assert heard.items == [audio[1].item]
    [row], [problem] = heard.measures, heard.problems
    assert row["track_id"] == "b"
    assert problem.startswith("audio/music/a.wav is missing")
