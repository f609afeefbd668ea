"""Libraries of single stems: a folder a source, or a CSV file of ``source,path``.

Each file is a song of one known source and nothing else: it goes into mixes and remixes, and says
nothing about the other sources. So it is never for validation or test.
"""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Sequence
from typing import Any

from storage.finding.listing import Entry, reaching, url_of, walk
from storage.finding.lists import Places, decoded_text
from storage.finding.sieve import MUSIC_EXTENSIONS
from storage.labelled.song import LabelledSetError, LabelledSong, StemSource, sources_of
from storage.labelled.song_files import UNREADABLE, StemRules, may_enter, where_is
from storage.labelled.stem_names import SKIP, UnclearNameError
from storage.music_format import MIXTURE
from storage.printable import shown, valid_text

CSV = "csv"
DELIMITERS = ",;\t"
SOURCE_COLUMNS = ("source", "instrum", "instrument")


def songs_of_library(
    fs: Any, root: Entry, folders: Sequence[Entry], rules: StemRules
) -> list[LabelledSong] | None:
    """The stems of a folder that has a folder a source; None where no folder has a source's name.

    Raises:
        LabelledSetError: beside folders of sources there are others that hold music.
    """
    stems: dict[str, LabelledSong] = {}
    unclear: list[str] = []
    for folder in folders:
        for entry in walk(fs, folder.path, may_enter):
            if not entry.is_folder and entry.extension not in MUSIC_EXTENSIONS:
                continue
            where = where_is(fs, entry.path)
            if not entry.is_file:
                raise LabelledSetError(f"{where}: {UNREADABLE}")
            name = entry.name[: -len(entry.extension) - 1]
            try:
                source = _one_source(rules.names.match(name, folder.name).target, rules)
            except UnclearNameError as error:
                unclear.append(f"{where}: {shown(str(error))}")
                break  # one file tells of its whole folder
            if source is not None:
                path = entry.path.removeprefix(root.path.rstrip("/") + "/")
                stems[path] = _stem(path, source, entry.path)
    if not stems:
        return None
    if unclear:
        raise LabelledSetError(min(unclear))
    return [stems[path] for path in sorted(stems)]


def songs_of_csv(fs: Any, file: Entry, rules: StemRules) -> tuple[Any, list[LabelledSong]]:
    """The stems that a CSV file names, and the filesystem they are in.

    The file may begin with the names of its columns, ``source`` (or ``instrum``) and ``path``; else
    these are the first two. Between them is a comma, or the semicolon or tab of other programs.
    Paths are relative to the file's folder, absolute, or URLs.

    Raises:
        LabelledSetError: it can't be understood, names an unknown source, a file for two sources,
            or no file at all; with the line.
    """
    where = where_is(fs, file.path)
    with reaching(url_of(fs, file.path)):
        lines = decoded_text(fs.cat_file(file.path)).splitlines()
    rows = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(csv.reader(lines, delimiter=_delimiter(lines)), start=1)
        if any(cell.strip() for cell in row) and not row[0].startswith("#")
    ]
    source_column, path_column = 0, 1
    if rows and (names := [cell.lower() for cell in rows[0][1]]).count("path"):
        sources = [place for place, name in enumerate(names) if name in SOURCE_COLUMNS]
        if not sources:
            raise LabelledSetError(
                f"{where}: no column {SOURCE_COLUMNS[0]!r}; it needs source,path"
            )
        source_column, path_column = sources[0], names.index("path")
        rows = rows[1:]
    stems: dict[str, LabelledSong] = {}
    filesystems: dict[type, Any] = {}
    places = Places(fs, posixpath.dirname(file.path))
    for number, cells in rows:
        line = f"{where}, line {number}"
        if len(cells) <= max(source_column, path_column) or not cells[path_column]:
            raise LabelledSetError(f"{line}: no path; each line needs source,path")
        try:
            source = _one_source(rules.names.match(cells[source_column]).target, rules)
        except UnclearNameError as error:
            raise LabelledSetError(f"{line}: {shown(str(error))}") from error
        if source is None:
            continue
        stem_fs, path = places.of(cells[path_column])
        filesystems.setdefault(type(stem_fs), stem_fs)
        if path in stems and source not in stems[path].stems:
            raise LabelledSetError(
                f"{line}: {shown(cells[path_column])} is named before, for "
                f"{next(iter(stems[path].stems))}; a file holds one source"
            )
        stems[path] = _stem(cells[path_column], source, path)
    if not stems:
        raise LabelledSetError(f"{where}: names no stem; write source,path, one stem a line")
    if len(filesystems) > 1:
        raise LabelledSetError(f"{where}: the paths mix filesystems; make one file of each")
    return next(iter(filesystems.values())), list(stems.values())


def _delimiter(lines: Sequence[str]) -> str:
    """What is between the cells: in the first line that says something, what comes first."""
    told = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return next((character for character in told if character in DELIMITERS), ",")


def _one_source(target: str, rules: StemRules) -> str | None:
    """The source that a single stem holds; None where it is to be left out.

    Raises:
        UnclearNameError: it is a sum, the mixture or the rest of a song.
    """
    if target in rules.sources:
        return target
    if target == SKIP:
        return None
    told = (
        "a sum" if len(sources_of(target)) > 1 else "the mixture" if target == MIXTURE else target
    )
    raise UnclearNameError(
        f"holds {told}, and a stem of a library one source, out of {', '.join(rules.sources)}; "
        f"leave it out with --stems ({SKIP}=...)"
    )


def _stem(name: str, source: str, path: str) -> LabelledSong:
    return LabelledSong(
        name=valid_text(name), split="train", mixture=None, stems={source: (StemSource(path),)}
    )
