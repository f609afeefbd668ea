"""The entries of lists and playlists, as programs write them.

Players write paths percent-encoded, with backslashes, in the encoding of their system, or in
another of Unicode's forms than the disk has. An entry is taken as it stands if that is there, else
as the first reading of it that is.
"""

from __future__ import annotations

import codecs
import posixpath
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from storage.addresses import is_url
from storage.finding.listing import (
    DiscoveryError,
    is_local,
    list_folder,
    look_up,
    open_location,
)

_ENCODINGS = ("cp1252", "cp932", "cp1251", "gb18030", "euc_kr", "mac_roman")


def list_entries(content: bytes) -> list[str]:
    """The lines of a list that name something, undecodable bytes as names of local files have them.

    Lists are UTF-8, or UTF-16 with a mark.
    """
    lines = (line.strip() for line in decoded_text(content).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def decoded_text(content: bytes) -> str:
    """A list's text: UTF-8 or marked UTF-16; other bytes as names of local files have them."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "surrogateescape")


class Places:
    """Where the entries of a list are.

    Args:
        fs: filesystem of the list.
        folder: of the list, from which relative paths go.
    """

    def __init__(self, fs: Any, folder: str) -> None:
        self._fs, self._folder = fs, folder
        self._names: dict[str, dict[str, str]] = {}

    def of(self, name: str) -> tuple[Any, str]:
        """Filesystem and path of an entry, read so that something is there, if there is a way.

        Raises:
            DiscoveryError: it names no place.
        """
        readings = list(_readings(name))
        first: tuple[Any, str] | None = None
        for reading in readings:
            try:
                fs, path = self._as_it_stands(reading)
            except DiscoveryError:
                if first is None:
                    raise
                continue
            if len(readings) == 1 and not is_local(fs):
                return fs, path  # its size is asked for soon, which is one request
            first = first or (fs, path)
            found = self._there(fs, path)
            if found is not None:
                return fs, found
        assert first is not None
        return first

    def _as_it_stands(self, name: str) -> tuple[Any, str]:
        if is_url(name):
            return open_location(name)
        if is_local(self._fs):
            return open_location(posixpath.join(self._folder, name))
        return self._fs, posixpath.normpath(posixpath.join(self._folder, name))

    def _there(self, fs: Any, path: str) -> str | None:
        """A path as the disk has it, whatever Unicode form or case its parts are written in."""
        try:
            if look_up(fs, path) is not None:
                return path
        except DiscoveryError:
            return path  # that it may not be read is said where it is opened
        if not is_local(fs):
            return None
        place = "/"
        for part in path.strip("/").split("/"):
            try:
                exact = look_up(fs, posixpath.join(place, part)) is not None
            except DiscoveryError:
                return None
            name = part if exact else self._names_in(fs, place).get(_key(part))
            if name is None:
                return None
            place = posixpath.join(place, name)
        return place

    def _names_in(self, fs: Any, folder: str) -> dict[str, str]:
        """Names in a folder of this machine, by what is the same in all ways to write them."""
        if folder not in self._names:
            names: dict[str, str] = {}
            with suppress(DiscoveryError):
                for entry in list_folder(fs, folder):
                    names.setdefault(_key(entry.name), entry.name)
            self._names[folder] = names
        return self._names[folder]


def is_undecodable(path: str) -> bool:
    """Whether a name has bytes that are no Unicode: of a list, its encoding is not known."""
    return any("\udc80" <= character <= "\udcff" for character in path)


def _readings(name: str) -> Iterator[str]:
    """What an entry may mean, likeliest first."""
    for text in _decoded(name):
        yield text
        if "%" in text:
            yield unquote(text, errors="surrogateescape")
        if "\\" in text and not is_url(text):
            yield text.replace("\\", "/")
            if "%" in text:
                yield unquote(text, errors="surrogateescape").replace("\\", "/")


def _decoded(name: str) -> Iterator[str]:
    yield name
    if not is_undecodable(name):
        return
    raw = name.encode("utf-8", "surrogateescape")
    for encoding in _ENCODINGS:
        try:
            yield raw.decode(encoding)
        except UnicodeDecodeError:
            continue


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
