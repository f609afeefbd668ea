"""What a file says of its music: title, artist and the like, as FFmpeg reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, BinaryIO

import av

from storage.decoding.ffmpeg_audio import CONTAINERS

NAMES: Mapping[str, tuple[str, ...]] = {
    "title": ("title", "tit2"),
    "artist": ("artist", "album_artist", "author", "tpe1"),
    "album": ("album", "talb"),
    "year": ("date", "year", "originaldate", "tdrc", "tyer", "icrd"),
    "genre": ("genre", "tcon"),
    "licence": ("license", "licence", "wcop", "copyright", "tcop"),
    "isrc": ("isrc", "tsrc"),
}
"""Ours, and what containers call them; the first that a file has is taken."""

LONGEST = 500
"""Characters of a tag that are kept."""

_WAV_PROBED = "4096"

_YEAR = re.compile(r"(?<!\d)(1[5-9]\d\d|20\d\d)(?!\d)")


def read_tags(file: BinaryIO) -> dict[str, str | int]:
    """The tags of a file, by our names: texts, empty where it has none, and the year or 0.

    Args:
        file: opened for reading, at its start.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
    try:
        if file.read(12)[8:] == b"WAVE":
            options["probesize"] = _WAV_PROBED  # all that is probed are samples, for DTS in them
        file.seek(0)
        with av.open(file, container_options=options, metadata_errors="replace") as container:
            streams = container.streams.audio
            told = dict(streams[0].metadata) if streams else {}
            return known_tags(told | dict(container.metadata))
    except (av.FFmpegError, OSError, ValueError):
        return known_tags({})


def known_tags(told: Mapping[str, Any]) -> dict[str, str | int]:
    """The tags we know, of all that a container tells.

    >>> known_tags({"TITLE": " Blue ", "date": "1999-07-01"})["year"]
    1999
    """
    texts = {name.lower(): _plain(str(value)) for name, value in told.items()}
    found: dict[str, str | int] = {
        ours: next((texts[name] for name in theirs if texts.get(name)), "")
        for ours, theirs in NAMES.items()
    }
    year = _YEAR.search(str(found["year"]))
    return found | {"year": int(year.group()) if year else 0}


def _plain(text: str) -> str:
    """A text in one line, of no more than is kept; what no one can encode becomes a mark."""
    whole = text.encode(errors="replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in whole).split())[:LONGEST]
