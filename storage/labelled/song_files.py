"""One song's files, found and put in order: a folder of stems, or a ``.stem.mp4``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from storage.finding.listing import Entry, list_folder, url_of, walk
from storage.finding.sieve import MUSIC_EXTENSIONS, SYSTEM_FOLDERS
from storage.labelled.musdb import musdb_conventions
from storage.labelled.song import (
    LabelledSetError,
    LabelledSong,
    Split,
    StemSource,
    group_name,
    sources_of,
)
from storage.labelled.stem_names import REST, SKIP, Match, StemNames, UnclearNameError
from storage.music_format import MIXTURE
from storage.printable import shown, valid_text

STEM_FILE = ".stem.mp4"
UNREADABLE = "neither a file nor a folder, perhaps a link to nowhere; replace or remove it"
_NO_SONGS = SYSTEM_FOLDERS - {"trash", "recycled"}
"""Folders that systems and other programs leave behind, but for two that a song may be called."""

Absent = Literal["refuse", "silent"]
"""What a source without any audio is: a mistake, or silent in that song."""


@dataclass(frozen=True, kw_only=True)
class StemRules:
    """How the files of a song become its stems.

    Attributes:
        names: tells which source a file holds.
        absent: what a source is that neither a file nor the mixture holds.
    """

    names: StemNames
    absent: Absent = "refuse"

    @property
    def sources(self) -> tuple[str, ...]:
        """The workspace's."""
        return self.names.sources


@dataclass(frozen=True)
class _Found:
    """A file of a song, and what it holds; ``label`` is its name in the song's own folder."""

    match: Match
    label: str
    audio: StemSource


def song_of_stem_file(fs: Any, entry: Entry, split: Split, rules: StemRules) -> LabelledSong:
    """A song in one file, with MUSDB18's audio streams.

    Raises:
        LabelledSetError: the streams hold other sources than the workspace's.
    """
    where = where_is(fs, entry.path)
    streams = musdb_conventions().streams
    for source in rules.sources if not rules.names.rules else ():
        if source not in streams:
            raise LabelledSetError(
                f"{where}: a .stem.mp4 holds no source {source!r}, only "
                f"{', '.join(name for name in streams if name != MIXTURE)}; use a folder of stems, "
                f"or say with --stems which of them are it, such as {source}=drums|bass"
            )
    found = [
        _Found(
            _matched(rules, f"{where}, stream {name}", name), name, StemSource(entry.path, place)
        )
        for name, place in streams.items()
    ]
    name = valid_text(entry.name[: -len(STEM_FILE)])
    return _song(found, where, name, split, rules)


def song_of_folder(fs: Any, folder: Entry, split: Split, rules: StemRules) -> LabelledSong:
    """A song with a file or a folder of takes for each source.

    Folders are looked into where the files beside them don't give every source by its name: then
    they hold what the files were made of.

    Raises:
        LabelledSetError: a file that holds no source or several, a source that is there twice or
            not at all; by name, with the way out.
    """
    found, folders = [], []
    for entry in list_folder(fs, folder.path):
        if is_passed_over(entry.name):
            continue
        if entry.is_folder:
            folders.append(entry)
        elif entry.extension in MUSIC_EXTENSIONS:
            found.append(_file(fs, entry, rules, label=entry.name))
    named = {one.match.target for one in found if one.match.is_exact}
    if not named.issuperset(rules.sources):
        for inner in folders:
            found += [
                _file(fs, take, rules, label=inner.name, folder=inner.name)
                for take in _takes(fs, inner)
            ]
    return _song(found, where_is(fs, folder.path), valid_text(folder.name), split, rules)


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or a system's: no song, and none of one."""
    return name.startswith(".") or name.lower() in _NO_SONGS


def may_enter(folder: str) -> bool:
    """Whether there may be music of ours in a folder, by its path."""
    return not is_passed_over(folder.rpartition("/")[2])


def where_is(fs: Any, path: str) -> str:
    """A path or URL as messages show it."""
    return shown(url_of(fs, path))


def _takes(fs: Any, folder: Entry) -> Iterator[Entry]:
    """The music below a folder, in the order of its paths, so that sums are the same anywhere."""
    entries = walk(fs, folder.path, may_enter)
    for entry in sorted(entries, key=lambda entry: entry.path):
        if entry.is_folder or entry.extension in MUSIC_EXTENSIONS:
            yield entry


def _file(fs: Any, entry: Entry, rules: StemRules, *, label: str, folder: str = "") -> _Found:
    where = where_is(fs, entry.path)
    if not entry.is_file:
        raise LabelledSetError(f"{where}: {UNREADABLE}")
    name = entry.name[: -len(entry.extension) - 1]
    return _Found(_matched(rules, where, name, folder), label, StemSource(entry.path))


def _matched(rules: StemRules, where: str, name: str, folder: str = "") -> Match:
    try:
        return rules.names.match(name, folder)
    except UnclearNameError as error:
        raise LabelledSetError(f"{where}: {shown(str(error))}") from error


def _song(
    found: Iterable[_Found], where: str, name: str, split: Split, rules: StemRules
) -> LabelledSong:
    files: dict[str, list[_Found]] = {}
    for one in found:
        files.setdefault(one.match.target, []).append(one)
    files.pop(SKIP, None)
    for target, of_target in files.items():
        _check_unambiguous(where, target, of_target)
    mixture, rest = files.pop(MIXTURE, []), files.pop(REST, [])
    if len(mixture) > 1:
        raise LabelledSetError(
            f"{where}: {MIXTURE} is there twice, as {_labels(mixture)}; remove one"
        )
    missing = _missing(where, files, rules.sources)
    stems = {target: tuple(one.audio for one in of_target) for target, of_target in files.items()}
    computed = ""
    if rest:
        stems[_rest_group(where, rest, stems, missing, rules)] = tuple(one.audio for one in rest)
    elif missing and stems and rules.absent == "silent":
        stems |= dict.fromkeys(missing, ())
    elif missing and stems and mixture:
        computed = group_name(missing, rules.sources)
    elif missing:
        raise LabelledSetError(
            f"{where}: no {' and no '.join(missing)} (such as {missing[0]}.wav); a song needs "
            f"{', '.join(rules.sources)}; add what is missing or the {MIXTURE} that holds it, or "
            f"move the song out of {split}/"
        )
    song = LabelledSong(
        name=name,
        split=split,
        mixture=mixture[0].audio if mixture else None,
        stems={
            group: stems[group]
            for group in sorted(stems, key=lambda g: rules.sources.index(sources_of(g)[0]))
        },
        rest=computed,
    )
    sums = [group for group in song.groups if len(sources_of(group)) > 1]
    if split == "test" and sums:
        raise LabelledSetError(
            f"{where}: {', '.join(sources_of(sums[0]))} are known as a sum alone, and a test song "
            "needs each source by itself; add the missing stems, or move the song to train/ or "
            "valid/"
        )
    return song


def _check_unambiguous(where: str, target: str, files: Sequence[_Found]) -> None:
    """Refuse ``vocals.wav`` beside ``lead_vocals.wav``, of which the one may hold the other."""
    labels = {one.label for one in files}
    if target == MIXTURE or len(labels) < 2 or not any(one.match.is_exact for one in files):
        return
    if all(one.match.is_exact for one in files):
        raise LabelledSetError(f"{where}: {target} is there twice, as {_labels(files)}; remove one")
    inexact = next(one.label for one in files if not one.match.is_exact)
    pattern = shown(inexact.rpartition(".")[0] or inexact)
    raise LabelledSetError(
        f"{where}: {target} is there as {_labels(files)}, and one may hold the other; remove one, "
        f"or leave one out with --stems, such as {SKIP}={pattern}"
    )


def _missing(where: str, groups: Iterable[str], sources: Sequence[str]) -> list[str]:
    """The sources in none of some groups; each may be in one at most."""
    holder: dict[str, str] = {}
    for group in groups:
        for source in sources_of(group):
            if source in holder:
                raise LabelledSetError(
                    f"{where}: {source} is in {holder[source]} and in {group}; a song's stems may "
                    f"hold each source once, so leave one out with --stems ({SKIP}=...)"
                )
            holder[source] = group
    return [source for source in sources if source not in holder]


def _rest_group(
    where: str,
    rest: Sequence[_Found],
    stems: dict[str, tuple[StemSource, ...]],
    missing: Sequence[str],
    rules: StemRules,
) -> str:
    """The sources that a file for the rest holds, such as ``accompaniment`` or ``no_vocals``."""
    given = [source for source in rules.sources if source not in missing]
    all_but = {one.match.all_but for one in rest if one.match.all_but}
    if not missing or not stems:
        raise LabelledSetError(
            f"{where}: {_labels(rest)} holds what the other stems don't, but "
            + ("they hold all sources" if not missing else "there is no other stem")
            + f"; remove it, or say with --stems what it holds ({SKIP}=... leaves it out)"
        )
    told = len(rules.names.rules) > 0 and not all_but
    if not told and (len(given) > 1 or not all_but <= set(given)):
        raise LabelledSetError(
            f"{where}: {_labels(rest)} beside {', '.join(given)}: which sources it holds can't be "
            f"told; say it with --stems, such as {REST}={shown(rest[0].label.rpartition('.')[0])}"
        )
    return group_name(missing, rules.sources)


def _labels(files: Iterable[_Found]) -> str:
    return " and ".join(sorted({shown(one.label) for one in files}))
