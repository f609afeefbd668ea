"""Joined parts: one in place of many small ones, which can still be told apart in it.

``joined/compact-<hash>.parquet`` in the folder of a partition says which parts it *replaces*: no
reader sees those, whether they are there still or not. It knows of each how many items and how many
rows are its own, in their order, so that one can be taken out of it again as if it lay there by
itself. What a joined part replaces never changes, and gives it its name.

Parts that silentmix 0.1.0 joined lie among the others and know no such numbers. They count as one.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from storage.damage import damaged
from storage.fingerprint import short_hash
from storage.tables.parts import ITEMS, REPLACES, names_in

COMPACTED = "compact-"
FOLDER = "joined"
SPANS = b"silentmix.spans"


@dataclass(frozen=True)
class Span:
    """What a joined part holds of one that it replaces.

    Attributes:
        name: of that part.
        items: that it covers.
        num_rows: its rows, right after those of the span before.
    """

    name: str
    items: tuple[str, ...]
    num_rows: int


@dataclass(frozen=True)
class Replaced:
    """What a joined part stands for.

    Attributes:
        names: of the parts that it replaces, of joined ones among them.
        num_parts: how many were written and joined.
    """

    names: frozenset[str]
    num_parts: int


def name_of(path: str) -> str:
    """The name of a part."""
    return posixpath.basename(path)


def is_joined(path: str) -> bool:
    """Whether a part is a joined one."""
    return name_of(path).startswith(COMPACTED)


def joined_path(folder: str, replaces: Iterable[str]) -> str:
    """Where a joined part lies in the folder of a partition."""
    return f"{folder}/{FOLDER}/{COMPACTED}{short_hash(json.dumps(sorted(replaces)), 24)}.parquet"


def spans_of(file: pq.ParquetFile, path: str, url: str) -> list[Span]:
    """What a part holds of which parts; one that was not joined is one span.

    Raises:
        DamagedError: the numbers are none of its items and rows.
    """
    schema, num_rows = file.schema_arrow, file.metadata.num_rows
    items = names_in(schema, ITEMS, url)
    lengths = _lengths(schema, url)
    if not lengths:
        return [Span(name_of(path), tuple(items), num_rows)]
    names, spans, start = names_in(schema, REPLACES, url), [], 0
    for name, (num_items, rows) in zip(names, lengths, strict=False):
        spans.append(Span(name, tuple(items[start : start + num_items]), rows))
        start += num_items
    if (len(spans), start) != (len(lengths), len(items)) or num_rows != _num_rows(spans):
        raise damaged(url, "it does not hold what it was joined of")
    return spans


def replaced_by(file: pq.ParquetFile, url: str) -> Replaced:
    """What a joined part stands for."""
    names = names_in(file.schema_arrow, REPLACES, url)
    return Replaced(frozenset(names), len(_lengths(file.schema_arrow, url)) or 1)


def _lengths(schema: pa.Schema, url: str) -> list[tuple[int, int]]:
    """How many items and rows each span has; none of a part that was not joined."""
    try:
        found = json.loads((schema.metadata or {}).get(SPANS, b"[]"))
        lengths = [(int(num_items), int(num_rows)) for num_items, num_rows in found]
    except (TypeError, ValueError) as error:
        raise damaged(url, f"no numbers in {SPANS.decode()}") from error
    if any(min(pair) < 0 for pair in lengths):
        raise damaged(url, f"numbers below 0 in {SPANS.decode()}")
    return lengths


def _num_rows(spans: Iterable[Span]) -> int:
    return sum(span.num_rows for span in spans)


def _is_cut(schema: pa.Schema) -> bool:
    return SPANS in (schema.metadata or {})


def others_of(schema: pa.Schema, spans: Iterable[Span], url: str) -> set[str]:
    """What a joined part replaces beside its spans: what was joined before."""
    return {*names_in(schema, REPLACES, url)}.difference(span.name for span in spans)


def told_of(spans: Sequence[Span], others: Iterable[str]) -> dict[bytes, bytes]:
    """The metadata of a joined part: of its spans, and of what else it replaces."""
    replaces = [*(span.name for span in spans), *sorted(others)]
    return {
        ITEMS: json.dumps([item for span in spans for item in span.items]).encode(),
        REPLACES: json.dumps(replaces).encode(),
        SPANS: json.dumps([(len(span.items), span.num_rows) for span in spans]).encode(),
    }


def told_again(
    schema: pa.Schema, spans: Sequence[Span], others: Iterable[str]
) -> dict[bytes, bytes]:
    """As :func:`told_of`, of what is left of a part; one that was not joined has items alone."""
    told = told_of(spans, others)
    return told if _is_cut(schema) else {ITEMS: told[ITEMS]}


def without_spans(schema: pa.Schema) -> dict[bytes, bytes]:
    """The metadata of a part but for what :func:`told_again` tells."""
    again = (ITEMS, REPLACES, SPANS) if _is_cut(schema) else (ITEMS,)
    return {key: value for key, value in (schema.metadata or {}).items() if key not in again}


def hidden_by(joined: Mapping[str, Set[str]]) -> set[str]:
    """The names of all parts that no reader sees, from what each joined part replaces.

    What replaces joined parts comes before those. Of two that were made at once of some of the
    same parts the first stands and the other is hidden, and all that it alone replaces is not.
    """

    def rank(name: str) -> tuple[int, str]:
        return -sum(map(is_joined, joined[name])), name

    hidden: set[str] = set()
    for name in sorted(joined, key=rank):
        if name not in hidden:
            stands = hidden.isdisjoint(joined[name])
            hidden |= joined[name] if stands else {name}
    return hidden


def cut(
    batches: Iterable[pa.RecordBatch], spans: Sequence[Span]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of a joined part, cut where its spans end, each with the place of its span."""
    place, left = -1, 0
    for batch in batches:
        rest = batch
        while len(rest):
            while not left:
                place += 1
                left = spans[place].num_rows
            piece = rest.slice(0, left)
            rest, left = rest.slice(len(piece)), left - len(piece)
            yield place, piece


class Kept:
    """What is left of a part while its rows go by.

    Args:
        spans: as they were.
        after: as they shall be, with fewer items perhaps; None for one that goes.
        keep: what is left of some rows.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        after: Sequence[Span | None],
        keep: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda rows: rows,
    ) -> None:
        self._spans, self._after, self._keep = spans, after, keep
        self._rows = [0] * len(spans)

    def rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What is left of all rows."""
        for place, piece in cut(batches, self._spans):
            if self._after[place] is not None:
                kept = self._keep(piece)
                self._rows[place] += len(kept)
                yield kept

    def spans(self) -> list[Span]:
        """What is left of the spans, once all rows went by."""
        both = zip(self._after, self._rows, strict=True)
        return [replace(span, num_rows=rows) for span, rows in both if span is not None]


def regrouped(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, num_rows: int
) -> Iterator[pa.Table]:
    """Rows as tables of so many, but for the last; of no rows an empty one."""
    held: list[pa.RecordBatch] = []
    count, is_first = 0, True
    for batch in batches:
        rest = batch
        while len(rest):
            held.append(rest.slice(0, num_rows - count))
            rest, count = rest.slice(len(held[-1])), count + len(held[-1])
            if count == num_rows:
                yield _table(held, schema)
                held, count, is_first = [], 0, False
    if held or is_first:
        yield _table(held, schema)


def _table(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    if not batches:
        return schema.empty_table()
    return pa.Table.from_batches(batches).combine_chunks().cast(schema)
