"""Rows that are no longer current: songs and tracks that something else took the place of.

Rows are never taken away for it, since detectors and models may have heard what they name. The
manifest ``retired`` says which rows no reader shall see, nor what was made of them. Its rows are
events: of several about one thing the last holds, so that what comes back is current again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.tables.schemas import (
    ACTIVITY,
    EVALUATIONS,
    REJECTS,
    REMIXES,
    RETURNED,
    SCORES,
    SEGMENTS,
    STEMS,
    TRACKS,
)

HELD_OUT = ("labelled_test", "labelled_valid")
"""Reasons of tracks that are songs which nothing may be trained on."""
_OF_TRACKS = (TRACKS.name, SCORES.name, SEGMENTS.name, REMIXES.name)


class RetiredKey(NamedTuple):
    """What is retired: rows of ``manifest`` in a corpus, whatever their fingerprint.

    Attributes:
        manifest: ``tracks``, ``stems``, ``activity`` or ``rejects``.
        track_id: of the track or song.
        split: of the song; empty for a track.
        name: the song's name, or a reject's item; empty for a track and for activity.
    """

    manifest: str
    track_id: str
    split: str = ""
    name: str = ""


@dataclass(frozen=True)
class Retirement:
    """Why something is retired, and what is current in its place."""

    reason: str
    superseded_by: str


@dataclass(frozen=True)
class Hidden:
    """Which rows of a partition are not current.

    Attributes:
        columns: of the table, which tell.
        keys: values of the columns, joined.
        added: songs and tracks that a recipe must not add a stem or an estimate of.
    """

    SEPARATOR: ClassVar = "\x1f"

    columns: tuple[str, ...]
    keys: frozenset[str]
    added: frozenset[str] = frozenset()

    @cached_property
    def _keys(self) -> pa.StringArray:
        return pa.array([*self.keys], pa.string())

    @cached_property
    def _added(self) -> pa.StringArray:
        return pa.array([*self.added], pa.string())

    @property
    def needed(self) -> tuple[str, ...]:
        """All columns that :meth:`current` looks at."""
        return (*self.columns, "added") if self.added else self.columns

    def current(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows are current, as a mask."""
        return pc.invert(self.matches(batch))

    def matches(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows are not, as a mask."""
        if len(self.columns) == 1:
            joined = batch[self.columns[0]]
        else:
            parts = [batch[name] for name in self.columns]
            joined = pc.binary_join_element_wise(*parts, self.SEPARATOR)  # type: ignore[call-overload]
        hidden = pc.is_in(joined, self._keys)
        if self.added:
            hidden = pc.or_(hidden, adds_stem_of(batch, self._added))
        return hidden


class Retired:
    """All that is retired in a workspace."""

    def __init__(self, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """From the rows of ``retired``, each with its corpus."""
        last: dict[tuple[str, RetiredKey], Mapping[str, Any]] = {}
        for corpus, row in sorted(events, key=lambda event: event[1]["decided_at"]):
            key = RetiredKey(row["manifest"], row["track_id"], row["split"], row["name"])
            last[corpus, key] = row
        self._of: dict[str, dict[RetiredKey, Retirement]] = {}
        for (corpus, key), row in last.items():
            if row["reason"] != RETURNED:
                retirement = Retirement(row["reason"], row["superseded_by"])
                self._of.setdefault(corpus, {})[key] = retirement

    def of_corpus(self, corpus: str) -> dict[RetiredKey, Retirement]:
        """What is retired of a corpus."""
        return dict(self._of.get(corpus, {}))

    def corpora(self) -> list[str]:
        """The corpora of which something is retired."""
        return sorted(self._of)

    def hidden(self, table: str, corpus: str) -> Hidden | None:
        """The rows of a table that are not current in a corpus; None where all are."""
        keys = self._of.get(corpus, {})
        added: frozenset[str] = frozenset()
        if table in _OF_TRACKS:
            columns: tuple[str, ...] = ("track_id",)
            found = {key.track_id for key in keys if key.manifest == TRACKS.name}
            if table == REMIXES.name:
                added = self._taken_from_training() | self._held_out()
        elif table == STEMS.name:
            columns = ("track_id", "split", "song")
            found = {Hidden.SEPARATOR.join(key[1:]) for key in keys if key.manifest == table}
        elif table == ACTIVITY.name:
            columns = ("track_id", "split")
            found = {Hidden.SEPARATOR.join(key[1:3]) for key in keys if key.manifest == table}
        elif table == REJECTS.name:
            columns = ("item",)
            found = {key.name for key in keys if key.manifest == table}
        elif table == EVALUATIONS.name:
            columns = ("track_id",)
            found = _songs_without(keys, "test")
        else:
            return None
        return Hidden(columns, frozenset(found), added) if found or added else None

    def _taken_from_training(self) -> frozenset[str]:
        """Songs that are no training songs any more, of any corpus: remixes may add any's stems."""
        return frozenset().union(*(_songs_without(keys, "train") for keys in self._of.values()))

    def _held_out(self) -> frozenset[str]:
        """Tracks that labelled songs are which are held out: their labels are in other corpora."""
        return frozenset(
            key.track_id
            for keys in self._of.values()
            for key, why in keys.items()
            if key.manifest == TRACKS.name and why.reason in HELD_OUT
        )


def with_needed(columns: Sequence[str], hidden: Hidden | None) -> list[str]:
    """The columns, and those that tell which rows are current."""
    needed = () if hidden is None else hidden.needed
    return [*columns, *(name for name in needed if name not in columns)]


def current_rows(
    batch: pa.RecordBatch, columns: Sequence[str], hidden: Hidden | None
) -> pa.RecordBatch:
    """The current rows of a batch, and of its columns those that are wanted."""
    return batch if hidden is None else batch.filter(hidden.current(batch)).select(list(columns))


def _songs_without(keys: Iterable[RetiredKey], split: str) -> set[str]:
    """The songs whose audio a split no longer holds, under any name."""
    return {key.track_id for key in keys if key.manifest == ACTIVITY.name and key.split == split}


def adds_stem_of(batch: pa.RecordBatch, track_ids: pa.StringArray) -> pa.BooleanArray:
    """Which recipes add a stem of one of the songs, as a mask."""
    stems = batch["added"]
    hits = pc.is_in(pc.struct_field(pc.list_flatten(stems), "track_id"), track_ids)
    rows = pc.list_parent_indices(stems).filter(hits)
    return pc.is_in(pa.array(np.arange(len(batch))), rows)
