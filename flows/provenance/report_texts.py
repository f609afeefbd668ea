"""Texts of reports without what names some music: blocks of pages, rows of tables, items of lists.

What has the same name as the music goes with it: a report is made again, and its music is not.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from flows.reports.markdown import LONGEST, SPECIAL, data_uri
from storage.printable import shown

WORD = re.compile(r"[\w-]+")
EMBEDDED = re.compile(r"data:[\w/]+;base64,[\w+/=]*")
ESCAPED = re.compile(rf"\\{SPECIAL.pattern}")
TAG = re.compile(r"<[^>]*>")
BLOCK = re.compile(r"<(figure|li|tr|p|h[2-6])\b.*?</\1>\n?", re.DOTALL)
"""What a page is made of, below its title."""

FILE = re.compile(r' src="([^"]*)"')
PLAYER = "<audio"


@dataclass(frozen=True, kw_only=True)
class Named:
    """By what a text names some music.

    Attributes:
        ids: of tracks, segments and remixes, with which the names of their sounds begin.
        names: of songs, and names and addresses of files.
    """

    ids: Set[str]
    names: Set[str]

    def is_file(self, stem: str) -> bool:
        """Whether a file of a report is called after it."""
        return stem in self.ids or stem.partition("-")[0] in self.ids

    def __call__(self, text: str) -> bool:
        """Whether a text names it."""
        return any(map(self.is_file, WORD.findall(text))) or any(
            _stands_in(name, text) for name in self._shown if name in text
        )

    @cached_property
    def _shown(self) -> Set[str]:
        """The names as texts have them: on one line, and cut where they are long."""
        lines = {" ".join(name.split()) for name in self.names} - {""}
        lines |= {shown(line) for line in lines}
        return lines | {f"{line[: LONGEST - 1]}…" for line in lines if len(line) > LONGEST}


def _stands_in(name: str, text: str) -> bool:
    """Whether it is there as a whole, and not as a part of another name."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text) is not None


def figures_that_name(page: str, named: Named) -> set[str]:
    """The files that a page shows under a caption that names it."""
    figures = [block[0] for block in BLOCK.finditer(page) if block[1] == "figure"]
    return {file for block in figures if named(_seen(block)) for file in _files(block)}


def without(
    file: str,
    text: str,
    named: Named,
    is_of: Callable[[str], bool],
    sounds: Iterable[bytes],
) -> str:
    """A text of a report without what names the music.

    Args:
        file: its name, whose ending tells what it is.
        text: what is in it.
        named: by what the music is named.
        is_of: whether a file of the report is of the music, by its name.
        sounds: MP3 files that are, for a page that holds its sounds itself.
    """
    match PurePosixPath(file).suffix:
        case ".html":
            return _html(text, named, is_of)
        case ".md":
            return _markdown(text, named, [data_uri("audio/mpeg", sound) for sound in sounds])
        case ".csv":
            return _csv(text, named)
        case ".json":
            return _json(text, named)
    return text


def _html(text: str, named: Named, is_of: Callable[[str], bool]) -> str:
    def goes(block: str) -> bool:
        return named(_seen(block)) or any(map(is_of, _files(block)))

    return BLOCK.sub(lambda found: "" if goes(found[0]) else found[0], text)


def _files(block: str) -> list[str]:
    return [unquote(file) for file in FILE.findall(block)]


def _seen(block: str) -> str:
    """What a person reads in HTML."""
    return html.unescape(TAG.sub("", block))


def _markdown(text: str, named: Named, sounds: list[str]) -> str:
    """Less lines that name it, and players with their captions, which stand above them."""
    sections: list[str] = []
    for block in text.split("\n\n"):
        if block.startswith(PLAYER) and sections:
            sections[-1] += f"\n\n{block}"
        else:
            sections.append(block)
    kept = []
    for section in sections:
        lines = section.split("\n")
        rest = [line for line in lines if not named(_plain(line))]
        if PLAYER in section and (len(rest) < len(lines) or any(s in section for s in sounds)):
            continue
        if rest:
            kept.append("\n".join(rest))
    return "\n\n".join(kept)


def _plain(markdown: str) -> str:
    return html.unescape(ESCAPED.sub(r"\1", EMBEDDED.sub("", markdown)))


def _csv(text: str, named: Named) -> str:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    kept = [row for row in rows if not any(map(named, row))]
    if len(kept) == len(rows):
        return text
    written = io.StringIO(newline="")
    csv.writer(written).writerows(kept)
    return written.getvalue()


def _json(text: str, named: Named) -> str:
    try:
        found = json.loads(text)
    except ValueError:  # not of ours
        return text
    kept = _value(found, named)
    return text if kept == found else json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


def _value(value: Any, named: Named) -> Any:
    """JSON, less the items of lists that are texts, or objects with texts, that name it."""
    if isinstance(value, dict):
        return {key: _value(each, named) for key, each in value.items()}
    if isinstance(value, list):
        return [_value(each, named) for each in value if not _names_it(each, named)]
    return value


def _names_it(item: Any, named: Named) -> bool:
    texts = item.values() if isinstance(item, dict) else [item]
    return any(isinstance(text, str) and named(text) for text in texts)
