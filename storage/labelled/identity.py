"""Tell whether a labelled song is still made of the files that it was made of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from storage.finding.listing import DiscoveryError, Entry, look_up, open_location
from storage.fingerprint import short_hash
from storage.labelled.song import LabelledSetError, LabelledSong
from storage.printable import valid_text


def identified(fs: Any, root: str, songs: Iterable[LabelledSong]) -> list[LabelledSong]:
    """The songs with identities: another when a file is replaced, added, renamed or moved.

    A file is known by its name in the set, so that a set which was moved as a whole is the same.

    Args:
        fs: filesystem of the set.
        root: path or URL of the set.
        songs: as they were found in it.

    Raises:
        LabelledSetError: a file may not be looked at.
    """
    try:
        folder = open_location(root)[1].rstrip("/") + "/"
        return [replace(song, identity=_identity(fs, folder, song)) for song in songs]
    except DiscoveryError as error:
        raise LabelledSetError(str(error)) from error


def _identity(fs: Any, folder: str, song: LabelledSong) -> str:
    files = []
    for path in song.files():
        entry = look_up(fs, path) or Entry(path=path)
        files.append([valid_text(path.removeprefix(folder)), entry.num_bytes, entry.stamp])
    return short_hash(json.dumps([song.groups, files]))
