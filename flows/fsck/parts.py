"""Every part can be read, its rows are of the schema we know, and nothing else lies there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from flows.catalogue import CATALOGUE
from flows.fsck.finding import Finding
from storage.damage import DamagedError, without_advice
from storage.errors import UserError
from storage.tables.manifests import CORPUS_NAME, Manifests, Partition
from storage.tables.parts import ITEMS, ManifestError, check_schema, names_in, open_part
from storage.tables.runs import lost_parts
from storage.tables.schemas import ACTIVITY, HEARD, REJECTS, RUNS, TABLES, Table

REFUSING = ("ingest", "score", "pseudo-label", "extract", "remix", "evaluate")
"""Stages that write why they refused an item, which counts as done then."""
BESIDE = {
    ACTIVITY.name: ("stems",),
    REJECTS.name: ("tracks", "stems", "scores", "segments", "tempos", "remixes", "evaluations"),
}
"""Manifests whose parts are written beside one of the same name, which says what is done."""


def check_parts(manifests: Manifests) -> Iterator[Finding]:
    """Read every part once; memory holds a row group."""
    workspace = manifests.workspace
    known: set[str] = set()
    for name in TABLES:
        for corpus in workspace.folders(f"manifests/{name}"):
            if not CORPUS_NAME.fullmatch(corpus.removeprefix("corpus=")):
                yield _stray(f"manifests/{name}/{corpus}", "no folder of a corpus")
                known.add(f"manifests/{name}/{corpus}")
    if known:
        return  # nothing else can list this workspace either
    for name, table in TABLES.items():
        for partition in manifests.partitions(name):
            for path in workspace.find(partition.folder):
                if not path.endswith(".parquet"):
                    yield _stray(path, "no part")
                elif (problem := _problem(manifests, path, table)) is not None:
                    yield _unreadable(manifests, partition, path, problem)


def check_lost(manifests: Manifests) -> Iterator[Finding]:
    """No partition has fewer parts than its last run left there."""
    for runs in manifests.partitions(RUNS.name):
        with suppress(UserError):  # a damaged record is found by itself
            for partition, lost in lost_parts(manifests, runs):
                yield Finding(
                    kind="lost_part",
                    what=partition.folder,
                    why=lost,
                    corpus=runs.corpus,
                    made=runs.fingerprint,
                    tables=(partition.table,),
                    stages=makers(partition.table),
                )


def _problem(manifests: Manifests, path: str, table: Table) -> UserError | None:
    url = manifests.workspace.url(path)
    try:
        with open_part(manifests.workspace, path) as file:
            schema = file.schema_arrow
            check_schema(schema, table, url)
            names_in(schema, ITEMS, url)
            wanted = {field: kind for field, kind, _ in table.fields}
            for field in schema:
                if field.name not in wanted:
                    return ManifestError(f"{url}: has a column {field.name!r} of nobody's")
                if not field.type.equals(wanted[field.name]):
                    return ManifestError(
                        f"{url}: {field.name} is of {field.type}, not of {wanted[field.name]}"
                    )
            for batch in file.iter_batches(table.rows_a_group):
                if empty := [name for name in schema.names if batch[name].null_count]:
                    return ManifestError(f"{url}: a row without {empty[0]}")
    except FileNotFoundError:
        return None  # taken away meanwhile
    except UserError as error:
        return error
    return None


def _unreadable(
    manifests: Manifests, partition: Partition, path: str, problem: UserError
) -> Finding:
    why = str(problem).removeprefix(f"{manifests.workspace.url(path)}: ")
    beside = [
        f"manifests/{table}/{PurePosixPath(path).relative_to(f'manifests/{partition.table}')}"
        for table in BESIDE.get(partition.table, ())
    ]
    damaged = isinstance(problem, DamagedError)
    return Finding(
        kind="damaged_part" if damaged else "foreign_part",
        what=path,
        why=without_advice(why),
        corpus=partition.corpus,
        made=partition.fingerprint,
        tables=(partition.table,),
        stages=makers(partition.table),
        put_away=(path, *filter(manifests.workspace.exists, beside)),
    )


def makers(table: str) -> tuple[str, ...]:
    """The stages that write a manifest; of the chain, and the audit."""
    if table == REJECTS.name:
        return REFUSING
    if table == HEARD.name:
        return ("fit-detector", "train")
    return tuple(
        entry.name
        for entry in CATALOGUE
        if table in entry.writes and (entry.group == "stages" or entry.own_command)
    )


def _stray(path: str, why: str) -> Finding:
    return Finding(kind="orphan", what=path, why=f"{why}; nothing reads it", put_away=(path,))
