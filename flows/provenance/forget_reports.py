"""The sounds of some music in ``reports/``: where they are, and how they go."""

from __future__ import annotations

import re
from collections.abc import Set
from pathlib import PurePosixPath

from flows.reports.markdown import data_uri, plain
from storage.workspace import Workspace

OF_A_SONG = re.compile(r"reports/[^/]+/[a-z]+/report\.md")
TITLE = re.compile(r"# The [a-z]+ song: (.*)")


def sounds_in_reports(workspace: Workspace, names: Set[str], songs: Set[str]) -> list[str]:
    """The files in reports that let music be heard.

    Args:
        workspace: where.
        names: of tracks, segments and remixes, with which the names of their sounds begin.
        songs: names of labelled songs; a report on such a one is meant with all its files.
    """
    files = workspace.find("reports")
    # reports of before have the name as it is
    songs = songs | {plain(name, None) for name in songs}
    folders = set()
    for path in files:
        if OF_A_SONG.fullmatch(path):
            title = TITLE.match(workspace.read(path).decode().partition("\n")[0])
            if title and title[1] in songs:
                folders.add(PurePosixPath(path).parent)
    return [
        path
        for path in files
        if PurePosixPath(path).parent in folders
        or (path.endswith(".mp3") and _is_of(PurePosixPath(path).stem, names))
    ]


def _is_of(stem: str, names: Set[str]) -> bool:
    return stem in names or stem.partition("-")[0] in names


def remove_sound(workspace: Workspace, path: str) -> None:
    """Remove a file of a report, and before it its player from the report's page."""
    page = str(PurePosixPath(path).with_name("report.md"))
    if path.endswith(".mp3") and workspace.exists(page):
        source = data_uri("audio/mpeg", workspace.read(path))
        text = workspace.read(page).decode()
        blocks = text.split("\n\n")
        players = [index for index, block in enumerate(blocks) if source in block]
        gone = {*players, *(index - 1 for index in players)}  # each has its caption above it
        if gone:
            kept = (block for index, block in enumerate(blocks) if index not in gone)
            workspace.put_bytes(page, "\n\n".join(kept).encode())
    workspace.remove(path)
