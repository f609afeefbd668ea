"""Which source a stem's file or folder holds, told by its name or by a mapping that a user gives.

A mapping is written ``vocals=lead*|backing*, drums+bass=rhythm, rest=accomp*, skip=click*,
other=*``: what matches a pattern, without regard to case, is that source, that sum of sources,
the rest of the song, or nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from storage.labelled.song import LabelledSetError, group_name
from storage.music_format import MIXTURE

REST, SKIP = "rest", "skip"
"""What a mapping may name beside sources: what no other file of the song holds; and nothing."""

ACCOMPANIMENT = "accompaniment"
ALL_OTHERS = "*"
EXAMPLE = 'such as "vocals=lead*|backing*, other=*"'
_WITHOUT = frozenset(("no", "not", "non", "without", "minus", "less", "removed"))
_CLASS = re.compile(r"\[!?\]?[^\]|]*\]")
_WORD = re.compile(r"[^\W\d_]+|\d+")


class UnclearNameError(Exception):
    """A name that tells of no source, or of several."""


@dataclass(frozen=True)
class Match:
    """What a name tells.

    Attributes:
        target: a source, a group of them, the mixture, :data:`REST` or :data:`SKIP`.
        is_exact: the name is the target's own.
        all_but: for the rest: the source that the name says is not in it, or "".
    """

    target: str
    is_exact: bool = False
    all_but: str = ""


@dataclass(frozen=True)
class StemNames:
    """Tells which source a name means.

    Attributes:
        sources: of the workspace, in order.
        rules: targets and patterns, in order; the first that matches decides.
    """

    sources: tuple[str, ...]
    rules: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str, sources: Sequence[str]) -> StemNames:
        """Read a mapping; an empty one leaves all to the names.

        Raises:
            LabelledSetError: it is no mapping, or names what is no source.

        >>> StemNames.parse("vocals=Lead*|bv?, vocals+other=rest", ("vocals", "other")).rules
        (('vocals', 'lead*'), ('vocals', 'bv?'), ('vocals+other', 'rest'))
        """
        rules: list[tuple[str, str]] = []
        for rule in text.split(",") if text.strip() else ():
            name, equals, patterns = rule.partition("=")
            if not equals or not all(pattern.strip() for pattern in patterns.split("|")):
                raise LabelledSetError(
                    f"stems: {rule.strip()!r} is no rule; write SOURCE=PATTERN|PATTERN, ..., "
                    f"{EXAMPLE}"
                )
            if "[" in _CLASS.sub("", patterns):
                raise LabelledSetError(
                    f"stems: {rule.strip()!r} has a [ that is not closed; [ab] matches a or b, and "
                    "[[] the character itself"
                )
            target = _target(name.strip().lower(), sources)
            rules += [(target, normal(pattern)) for pattern in patterns.split("|")]
        return cls(tuple(sources), tuple(rules))

    def match(self, name: str, folder: str = "") -> Match:
        """What a file holds.

        Rules come first, in their order, then the names of the sources themselves, then rules with
        the pattern ``*`` alone, which take what is left. Without any rule, a name may also be a
        source's with other words around it (``lead_vocals``, ``Vocals 2``).

        Args:
            name: of the file, without its extension.
            folder: of the folder inside the song's that it is in; then the folder's name tells,
                and the file's is looked at by rules alone.

        Raises:
            UnclearNameError: it tells of no source, or of several, and what to do.
        """
        told = (folder or name).strip()
        name, folder = normal(name), normal(folder)
        for target, pattern in self.rules:
            names = (name, folder, f"{folder}/{name}") if folder else (name,)
            if pattern != ALL_OTHERS and any(fnmatchcase(each, pattern) for each in names):
                return Match(target)
        own = folder or name
        if own in (*self.sources, MIXTURE):
            return Match(own, is_exact=True)
        for target, pattern in self.rules:
            if pattern == ALL_OTHERS:
                return Match(target)
        if self.rules:
            raise UnclearNameError(
                f"{told!r} matches no rule of --stems and no source ({', '.join(self.sources)}); "
                f"add a rule for it, such as {self.sources[-1]}={told} or {SKIP}={told}"
            )
        return self._by_words(own, told)

    def _by_words(self, own: str, told: str) -> Match:
        if own == ACCOMPANIMENT:
            return Match(REST)
        words = _WORD.findall(own)
        if words[:1] == ["no"]:
            for source in self.sources:
                if words[1:] == _WORD.findall(source):
                    return Match(REST, all_but=source)
        found = [
            source for source in (*self.sources, MIXTURE) if _is_part(_WORD.findall(source), words)
        ]
        if len(found) > 1:
            raise UnclearNameError(
                f"{told!r} names {' and '.join(found)}; rename it, or say with --stems what it "
                f"holds, such as {found[0]}={told} or {'+'.join(self.sources[:2])}={told}"
            )
        if not found or _WITHOUT.intersection(words):
            raise UnclearNameError(
                f"unknown source {told!r}; the sources are {', '.join(self.sources)} (and "
                f"{MIXTURE}); remove it, or say with --stems what it holds, such as "
                f"{self.sources[-1]}={told} or {SKIP}={told}"
            )
        return Match(found[0])


def normal(name: str) -> str:
    """A name without regard to case, in Unicode's composed form; macOS hands out the other."""
    return unicodedata.normalize("NFC", name.strip()).lower()


def _target(name: str, sources: Sequence[str]) -> str:
    """What a rule is for, in the order of the sources."""
    if name in (*sources, MIXTURE, REST, SKIP):
        return name
    members = [member.strip() for member in name.split("+")]
    unknown = [member for member in members if member not in sources]
    if unknown or len(set(members)) < len(members):
        told = f"{unknown[0]!r} is no source" if unknown else f"{name!r} names a source twice"
        raise LabelledSetError(
            f"stems: {told}; a rule is for {', '.join(sources)}, a sum of them such as "
            f"{'+'.join(sources[:2])}, {MIXTURE}, {REST} or {SKIP}"
        )
    return group_name(members, sources)


def _is_part(part: list[str], words: list[str]) -> bool:
    """Whether some words stand in a row among others."""
    return any(
        words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1)
    )
