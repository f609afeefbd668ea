"""A labelled song: which files hold which of its sources, alone or as a sum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from storage.errors import UserError

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class LabelledSetError(UserError):
    """A labelled set that is missing, incomplete, or holds what can't be told."""


@dataclass(frozen=True)
class StemSource:
    """Where some of a song's audio is.

    Attributes:
        path: file, in the set's filesystem.
        stream: which of the file's audio streams, counted from 0.
    """

    path: str
    stream: int = 0


@dataclass(frozen=True, kw_only=True)
class LabelledSong:
    """A song of which some sources are known, each alone or as a sum with others.

    A group of sources is named by their names, joined with ``+`` in the workspace's order. The
    groups of a song hold each source once. A single stem of a library is a song of one known
    source, whose groups leave out the others: nothing is known of them.

    Attributes:
        name: the song's file or folder name, without ``.stem.mp4``; unique within its split.
        split: what it is for.
        mixture: its mixture; None where the sum of the stems is the mixture.
        stems: for each group that has files, what is to be summed, in the order of the sources; a
            group without any is silent.
        rest: the group that has no file and is what the mixture holds beside the others, or "".
        identity: hash of its files' names, sizes and times, where somebody has asked for it
            (:mod:`storage.labelled.identity`).
    """

    name: str
    split: Split
    mixture: StemSource | None
    stems: dict[str, tuple[StemSource, ...]]
    rest: str = ""
    identity: str = field(default="", compare=False)

    @property
    def groups(self) -> tuple[str, ...]:
        """Every group, the computed one last."""
        return (*self.stems, self.rest) if self.rest else tuple(self.stems)

    def files(self) -> list[str]:
        """The paths of all files that it is made of, each once, sorted."""
        parts = [part for parts in self.stems.values() for part in parts]
        return sorted({part.path for part in (*parts, *([self.mixture] if self.mixture else []))})


def group_name(group: Iterable[str], sources: Sequence[str]) -> str:
    """The name of some sources' sum.

    >>> group_name({"bass", "drums"}, ("drums", "bass", "vocals"))
    'drums+bass'
    """
    members = set(group)
    return "+".join(source for source in sources if source in members)


def sources_of(group: str) -> tuple[str, ...]:
    """The sources of a group, by its name.

    >>> sources_of("drums+bass")
    ('drums', 'bass')
    """
    return tuple(group.split("+"))
