"""Texts of reports lose what names some music, and nothing else."""

from __future__ import annotations

import json

import pytest

from flows.provenance.report_texts import Named, figures_that_name, without
from flows.reports import page
from flows.reports.markdown import data_uri, plain

NAME = "a*b_[1] & <c>.wav"
LONG = f"{'long' * 40}.wav"
NAMED = Named(ids={"0123abcd"}, names={NAME, LONG, "/music/" + NAME, "Song 1"})


def left(file: str, text: str, *sounds: bytes) -> str:
    return without(file, text, NAMED, lambda other: other.startswith("0123abcd"), sounds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("of Song 1, at 3 s", True),
        (f"such as /music/{NAME}: no", True),
        ("0123abcd-drums-surest", True),
        ("0123abcd-1 and more", True),
        ("Song 12, Song 1-live, Song 1.flac, my-Song 1", False),
        ("0123abcde", False),
    ],
)
def test_a_name_is_whole(text: str, expected: bool) -> None:
    assert NAMED(text) == expected


@pytest.mark.parametrize("name", [NAME, LONG, "Song 1"])
def test_a_page_keeps_what_is_not_of_the_music(name: str) -> None:
    list_of = f"- **silent**, 1: {plain(name)} (why)\n- **empty**, 1: other.wav (why)"
    kept = page.page("title", [page.words("- **empty**, 1: other.wav (why)"), page.words("A text")])
    whole = page.page(
        "title",
        [page.words(list_of), page.sound("1.mp3", "1.png", plain(name)), page.words("A text"),
         page.sound("0123abcd.mp3", "0123abcd-spectrogram.png", "silent?")],
    ).decode()  # fmt: skip
    assert [line for line in left("index.html", whole).split("\n") if line] == [
        line for line in kept.decode().split("\n") if line
    ]
    assert figures_that_name(whole, NAMED) == {"1.mp3", "1.png"}


@pytest.mark.parametrize("name", [NAME, LONG, "Song 1"])
def test_markdown_keeps_what_is_not_of_the_music(name: str) -> None:
    def player(sound: bytes) -> str:
        return f'<audio controls src="{data_uri("audio/mpeg", sound)}"></audio>'

    kept = ["# title", "- **Read:** that", "another", player(b"another")]
    whole = [
        "# title", f"- **Read:** that\n- **a**, 1: {plain(name)}", f"of {plain(name)}",
        player(b"its"), "another", player(b"another"), "silent?", player(b"unnamed"),
    ]  # fmt: skip
    assert left("report.md", "\n\n".join(whole), b"unnamed") == "\n\n".join(kept)


def test_tables_keep_other_rows() -> None:
    rows = "method,song,sdr_db\r\nm,Song 1,2.0\r\nm,Song 12,1.0\r\n"
    assert left("songs.csv", rows) == "method,song,sdr_db\r\nm,Song 12,1.0\r\n"
    told = {"notes": ["left out: Song 1, Song 3", "two models"], "songs": [{"song": "Song 1"}]}
    assert json.loads(left("a.json", json.dumps(told))) == {"notes": ["two models"], "songs": []}
    for file, text in {"a.json": '{"a":1}', "b.json": "{Song 1", "c.csv": 'a,"b"\n'}.items():
        assert left(file, text) == text
