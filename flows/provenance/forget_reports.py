"""Some music in ``reports/``: where it is heard, seen and named, and how that goes.

A file is of the music if its name begins with one of its ids, or a page shows it under a caption
that names the music. Two kinds say less, and are known otherwise: the report on a test song by its
title, and what a training plays of a validation song by who heard it.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import PurePosixPath

from flows.provenance.report_texts import Named, figures_that_name, without
from flows.reports.markdown import plain
from storage.workspace import Workspace

OF_A_SONG = re.compile(r"reports/[^/]+/[a-z]+/report\.md")
TITLE = re.compile(r"# The [a-z]+ song: (.*)")
TEXTS = (".md", ".html", ".csv", ".json")
PAGE, MARKDOWN, SOUND = "index.html", "report.md", ".mp3"
OF_VALIDATION = "validation-"
MUSEVAL = "reports/museval/"
"""Scores, which the manifest ``evaluations`` names."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What reports have of some music: paths, in the order in which they change.

    Attributes:
        texts: that tell of other things too; they stay, without it.
        files: that are of it alone.
        pages: as ``texts``; the last ones, since they tell whose files are.
    """

    texts: list[str]
    files: list[str]
    pages: list[str]


@dataclass(frozen=True, kw_only=True)
class InReports:
    """Some music, as reports know it.

    Attributes:
        workspace: of the reports.
        named: by what they name it.
        songs: names of labelled songs; a report on such a one is meant with all its files.
        trainings: runs that may have validated on it.
    """

    workspace: Workspace
    named: Named
    songs: Set[str]
    trainings: Set[str]

    def traces(self) -> Traces:
        """Where the music is heard, seen or named."""
        found = Traces(texts=[], files=[], pages=[])
        for folder, files in self._folders().items():
            mine = self._files(folder, files)
            found.files.extend(f"{folder}/{file}" for file in files if file in mine)
            for file in files:
                path = f"{folder}/{file}"
                if file not in mine and self._changes(path, mine):
                    (found.pages if file == PAGE else found.texts).append(path)
        found.files.sort(key=lambda path: path.endswith(MARKDOWN))  # its title says whose all is
        return found

    def remove(self, traces: Traces) -> None:
        """Remove what was found; what is left if this is cut short is found again."""
        gone: dict[str, set[str]] = {}
        for path in traces.files:
            folder, _, file = path.rpartition("/")
            gone.setdefault(folder, set()).add(file)
        for path in (*traces.texts, *traces.files, *traces.pages):
            if path in traces.files:
                self.workspace.remove(path)
            else:
                text = self._without(path, gone.get(path.rpartition("/")[0], set()))
                self.workspace.put_bytes(path, text.encode(errors="surrogateescape"))

    def _folders(self) -> dict[str, list[str]]:
        """The files of each report, by their names."""
        folders: dict[str, list[str]] = {}
        for path in self.workspace.find("reports"):
            if not path.startswith(MUSEVAL):
                folder, _, file = path.rpartition("/")
                folders.setdefault(folder, []).append(file)
        return folders

    def _files(self, folder: str, files: list[str]) -> Set[str]:
        """Those of a report's files that are of the music alone."""
        if OF_A_SONG.fullmatch(f"{folder}/{MARKDOWN}") and MARKDOWN in files:
            title = TITLE.match(self._text(f"{folder}/{MARKDOWN}").partition("\n")[0])
            # reports of before have the name as it is
            if title and title[1] in self.songs | {plain(name, None) for name in self.songs}:
                return set(files)
        page = self._text(f"{folder}/{PAGE}") if PAGE in files else ""
        shown = figures_that_name(page, self.named)
        return {file for file in files if file in shown or self._is_called_so(folder, file)}

    def _is_called_so(self, folder: str, file: str) -> bool:
        """Whether a file's name says that it is of the music."""
        if file.endswith(TEXTS):
            return False
        validates = folder.rpartition("/")[2] in self.trainings
        return self.named.is_file(PurePosixPath(file).stem) or (
            validates and file.startswith(OF_VALIDATION)
        )

    def _changes(self, path: str, gone: Set[str]) -> bool:
        return path.endswith(TEXTS) and self._without(path, gone) != self._text(path)

    def _without(self, path: str, gone: Set[str]) -> str:
        folder, _, file = path.rpartition("/")
        sounds = (
            self.workspace.read(f"{folder}/{other}") for other in gone if other.endswith(SOUND)
        )
        return without(
            file, self._text(path), self.named, lambda other: self._is_called_so(folder, other),
            sounds,
        )  # fmt: skip

    def _text(self, path: str) -> str:
        return self.workspace.read(path).decode(errors="surrogateescape")
