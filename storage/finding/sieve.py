"""What in a folder is music, and what is passed over: other files, bins, silentmix's own."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from storage.finding.listing import DiscoveryError, Entry, look_up, reaching, url_of

MUSIC_EXTENSIONS = frozenset(
    (
        *("wav", "wave", "bwf", "bw64", "rf64", "w64", "aif", "aiff", "aifc", "au", "snd", "caf"),
        *("flac", "alac", "ape", "wv", "tta", "tak", "shn", "dsf", "dff", "thd", "truehd", "mlp"),
        *("mp3", "mp2", "mp1", "mpa", "mpga", "m2a", "ogg", "oga", "ogx", "ogv", "opus", "spx"),
        *("aac", "adts", "loas", "latm", "ac3", "eac3", "ec3", "dts", "dtshd", "m4a", "m4b", "m4r"),
        *("wma", "asf", "wmv", "mpc", "mp+", "mpp", "amr", "oma", "aa3", "ra", "rm", "voc", "iff"),
        *("mp4", "m4v", "mov", "qt", "3gp", "3g2", "3ga", "f4a", "f4v", "flv", "avi", "mka", "mkv"),
        *("webm", "weba", "ts", "m2ts", "mts", "mpg", "mpeg", "vob"),
    )
)
"""Extensions of files taken for music, in lower case and without a dot: what a decoder reads."""

SYSTEM_FOLDERS = frozenset(
    (
        *("$recycle.bin", "recycler", "recycled", "#recycle", "@recycle", "network trash folder"),
        *("system volume information", "lost+found", "@eadir", "@recently-snapshot", "__macosx"),
        *("temporary items", "trash", "found.000"),
    )
)
"""Folders of systems, in lower case: bins, and copies of what is elsewhere. Hidden ones besides."""

SYSTEM, OURS, UNNAMED = "folder of the system", "silentmix workspace", "without extension"
_MARKER = "workspace.json"


class Sieve:
    """Keeps the music among what is found, and counts the rest by kind.

    Attributes:
        fs: where that is.
        passed_over: how much of what: extensions, and folders that were not entered.
    """

    def __init__(self, fs: Any, passed_over: Counter[str]) -> None:
        self.fs = fs
        self.passed_over = passed_over

    def enter(self, folder: str) -> bool:
        """Whether music may be in a folder that nobody named."""
        if is_system_folder(posixpath.basename(folder)):
            self.passed_over[SYSTEM] += 1
            return False
        if is_workspace(self.fs, folder):
            self.passed_over[OURS] += 1
            return False
        return True

    def music(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The music among what was found; folders are those that may not be read."""
        for entry in entries:
            if entry.is_folder or entry.extension in MUSIC_EXTENSIONS:
                yield entry
            else:
                self.passed_over[entry.extension or UNNAMED] += 1

    def flat(self, folder: str, found: Iterable[Entry]) -> Iterator[Entry]:
        """As :meth:`enter`, of what an object store has below a folder, which comes as one list."""
        entries = list(found)
        top = folder.rstrip("/")
        marked = {posixpath.dirname(entry.path) for entry in entries if entry.name == _MARKER}
        ours = {root for root in marked - {top} if is_workspace(self.fs, root)}
        outermost: dict[str, str] = {top: ""}  # of each folder, the one around it to leave out

        def left_out(place: str) -> str:
            if place not in outermost:
                above = posixpath.dirname(place)
                parent = left_out(above) if above != place else ""
                is_left_out = place in ours or is_system_folder(posixpath.basename(place))
                outermost[place] = parent or (place if is_left_out else "")
            return outermost[place]

        for entry in entries:
            if not left_out(posixpath.dirname(entry.path)):
                yield entry
        for root in filter(None, set(outermost.values())):
            self.passed_over[OURS if root in ours else SYSTEM] += 1


def is_system_folder(name: str) -> bool:
    """Whether a folder of that name belongs to a system, and holds what nobody means."""
    return name.lower() in SYSTEM_FOLDERS


def is_workspace(fs: Any, folder: str) -> bool:
    """Whether a folder is a workspace of ours."""
    path = f"{folder.rstrip('/')}/{_MARKER}"
    try:
        if look_up(fs, path) is None:
            return False
        with reaching(url_of(fs, path)):
            marker = json.loads(fs.cat_file(path))
    except (DiscoveryError, ValueError, RecursionError):
        return False
    return isinstance(marker, dict) and isinstance(marker.get("format"), int)


def workspace_around(fs: Any, path: str) -> str | None:
    """The workspace that a place lies in, or is."""
    while True:
        if is_workspace(fs, path):
            return path
        parent = posixpath.dirname(path.rstrip("/"))
        if parent in (path, ""):
            return None
        path = parent


def told(passed_over: Counter[str]) -> str:
    """What was passed over, in a few words.

    >>> told(Counter({"jpg": 12, SYSTEM: 1, "pdf": 3}))
    '12 jpg, 3 pdf, 1 folder of the system'
    """
    most = passed_over.most_common(8)
    rest = passed_over.total() - sum(count for _, count in most)
    return ", ".join(
        [f"{count} {kind}" for kind, count in most] + ([f"{rest} others"] if rest else [])
    )
