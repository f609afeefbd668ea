"""Taking parts and rows out of manifests, and correcting rows: all that changes what is written.

A part is replaced by itself as it shall be, in one step, so that it is whole at any time. What a
joined part replaces (:mod:`storage.tables.joined`) is taken out of both, and corrected in both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence, Set
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.tables.joined import (
    FOLDER,
    Kept,
    Span,
    is_joined,
    joined_path,
    name_of,
    others_of,
    regrouped,
    spans_of,
    told_again,
    without_spans,
)
from storage.tables.manifests import Manifests, Partition
from storage.tables.parts import (
    check_schema,
    completed,
    known_table,
    open_part,
    present_columns,
    table_of,
    write_parquet,
)
from storage.tables.schemas import Table
from storage.workspace import Workspace


def remove_replaced(manifests: Manifests, partition: Partition) -> None:
    """Remove parts that another one replaces, at once."""
    for path in manifests.replaced(partition):
        manifests.workspace.remove(path)


def remove_parts(manifests: Manifests, partition: Partition, paths: Collection[str]) -> None:
    """Remove parts, also out of the joined ones that replace them.

    Where something was joined, what is replaced by now goes first, lest it be seen again.

    Args:
        manifests: of the workspace.
        partition: whose parts.
        paths: of the parts, as :meth:`~storage.tables.manifests.Manifests.within` tells them.
    """
    joined = list(filter(is_joined, manifests.parts(partition)))
    if paths and joined:
        remove_replaced(manifests, partition)
    gone = set(map(name_of, paths))
    for path in joined:
        if gone & manifests.stands_for(path).names:
            _take_out(manifests.workspace, path, gone)
    for path in paths:
        manifests.workspace.remove(path)


def remove_rows(
    manifests: Manifests,
    partition: Partition,
    matches: Callable[[pa.RecordBatch], pa.BooleanArray],
    items: Container[str],
    *,
    columns: Sequence[str],
    dry_run: bool = False,
) -> int:
    """Take rows and items out of a partition; returns how many rows.

    Each part that holds such a row or covers such an item is replaced under its own name. Of parts
    that another one replaces, too; they go first, so that what is seen tells the next run what is
    left to do.

    Args:
        manifests: of the workspace.
        partition: where to look.
        matches: which rows of a batch go, as a mask.
        items: names that the partition shall not cover any more.
        columns: all that ``matches`` looks at.
        dry_run: only count.
    """
    workspace, table, total = manifests.workspace, known_table(partition.table), 0
    paths, hidden = manifests.all_parts(partition)
    for path in sorted(paths, key=lambda path: name_of(path) not in hidden):
        is_hidden = name_of(path) in hidden
        if dry_run and is_hidden:
            continue
        with open_part(workspace, path) as file:
            gone = _num_hits(file, table, matches, columns, workspace.url(path))
            total += 0 if is_hidden else gone
            if dry_run:
                continue
            spans, others = _held(file, path, workspace.url(path))
        after = [
            replace(span, items=tuple(item for item in span.items if item not in items))
            for span in spans
        ]
        if gone or after != spans:
            kept = Kept(spans, after, lambda rows: rows.filter(pc.invert(matches(rows))))
            _rewrite(workspace, path, path, kept, others)
    return total


def correct_rows(
    manifests: Manifests,
    partition: Partition,
    matches: Callable[[pa.RecordBatch], pa.BooleanArray],
    corrected: Callable[[pa.RecordBatch], pa.RecordBatch],
    *,
    columns: Sequence[str],
) -> None:
    """Put other values into rows of a partition; each part that holds such a row is replaced.

    Args:
        manifests: of the workspace.
        partition: where to look.
        matches: which rows of a batch are wrong, as a mask.
        corrected: a batch of all columns, with its wrong rows as they shall be.
        columns: all that ``matches`` looks at.
    """
    workspace, table = manifests.workspace, known_table(partition.table)
    for path in manifests.all_parts(partition)[0]:
        with open_part(workspace, path) as file:
            if not _num_hits(file, table, matches, columns, workspace.url(path)):
                continue
            spans, others = _held(file, path, workspace.url(path))
        _rewrite(workspace, path, path, Kept(spans, spans, corrected), others)


def _num_hits(
    file: pq.ParquetFile,
    table: Table,
    matches: Callable[[pa.RecordBatch], pa.BooleanArray],
    columns: Sequence[str],
    url: str,
) -> int:
    """How many rows of a part are looked for."""
    schema = file.schema_arrow
    check_schema(schema, table, url)
    present = present_columns(columns, schema, table)
    batches = file.iter_batches(table.rows_a_group, columns=present)
    return sum(_count(matches(completed(batch, columns, table))) for batch in batches)


def _held(file: pq.ParquetFile, path: str, url: str) -> tuple[list[Span], set[str]]:
    """What a part holds of which parts, and what it replaces beside those."""
    spans = spans_of(file, path, url)
    return spans, others_of(file.schema_arrow, spans, url)


def _take_out(workspace: Workspace, path: str, gone: Set[str]) -> None:
    """Put another joined part, without some of what it replaces, in the place of one."""
    with open_part(workspace, path) as file:
        spans, others = _held(file, path, workspace.url(path))
    after = [None if span.name in gone else span for span in spans]
    left = [span for span in after if span is not None]
    if left:
        others.add(name_of(path))
        folder = path.removesuffix(f"/{FOLDER}/{name_of(path)}")
        to = joined_path(folder, [*others, *(span.name for span in left)])
        _rewrite(workspace, path, to, Kept(spans, after), others)
    workspace.remove(path)


def _rewrite(workspace: Workspace, path: str, to: str, kept: Kept, others: Set[str]) -> None:
    """Write what is kept of a part, there or elsewhere.

    Args:
        workspace: where the part is.
        path: of the part.
        to: where what is kept of it goes.
        kept: of its spans and rows.
        others: what it replaces beside its spans, if it is a joined one.
    """
    with open_part(workspace, path) as file:
        schema, table = file.schema_arrow, table_of(file.schema_arrow)
        rows = kept.rows(file.iter_batches(table.rows_a_group))
        plain = schema.with_metadata(without_spans(schema))
        tables = regrouped(rows, plain, table.rows_a_group)

        def told() -> dict[bytes, bytes]:
            return told_again(schema, kept.spans(), others)

        workspace.put(to, lambda out: write_parquet(table.name, tables, out, told))


def _count(mask: pa.BooleanArray) -> int:
    count: int = mask.true_count
    return count
