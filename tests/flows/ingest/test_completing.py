"""Where the tags of tracks that were ingested before are read from."""

from __future__ import annotations

import pytest

from flows.ingest.completing import of_same_place


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
