"""Removes music and all that was made of it; says which models heard it.

The order lets a run that was killed be repaired by running it again: first ``rejects`` says what is
to be forgotten, which ingest obeys from then on, and models are marked; then go the sounds in
reports, the rows of what was made of it, the audio, and last ``stems`` and ``tracks``, which tell
the next run where all this was. A compaction of manifests ends before, and none begins meanwhile:
it would bring back what it has read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial, reduce

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from flows.inputs import registry
from flows.inputs.forgotten import FORGOTTEN, RECORDS, STAGE, forgotten
from flows.provenance.forget_reports import InReports
from flows.provenance.named_files import addresses, endings, is_ending
from flows.provenance.report_texts import Named
from flows.reports.file_names import base_name
from flows.running.rejects import reject_row
from flows.running.turns import writing
from flows.running.under_way import new_run_id
from storage.errors import UserError
from storage.tables.edits import remove_rows
from storage.tables.manifests import Manifests, Partition
from storage.tables.retired import adds_stem_of
from storage.tables.schemas import EVALUATIONS, REJECTS, STEMS, TABLES
from storage.tables.sql import FILES_OF_STEM, FILES_OF_TRACKS, adds_any_of, reading
from storage.workspace import Workspace, track_path

READ = (
    *("tracks", "stems", "segments", "remixes", "evaluations", "heard", "runs", "rejects"),
    *("source_files", "labelled_files"),
)
"""Manifests that tell what was made of music, and where it came from."""


class Forgotten(BaseModel):
    """What went, or would go.

    Attributes:
        dry_run: whether it is all still there.
        names: of the files and songs, by the track_id.
        rows: that went, a manifest.
        files: of audio and reports that went.
        texts: of reports that named it among other things, and do not any more.
        models: to train again.
        detectors: to train again.
    """

    dry_run: bool
    names: dict[str, str]
    rows: dict[str, int] = {}
    files: int = 0
    texts: int = 0
    models: list[str] = []
    detectors: list[str] = []


@dataclass(frozen=True)
class _Music:
    """A track or song that matched: what it is called, and where it was."""

    track_id: str
    corpus: str
    name: str


@dataclass(frozen=True)
class _File:
    """A file of a track or song, and what it is called."""

    music: _Music
    url: str

    @classmethod
    def of(cls, track_id: str, corpus: str, url: str, song: str) -> _File:
        return cls(_Music(track_id, corpus, song or url), url)

    def fits(self, pattern: str) -> bool:
        return any(fnmatchcase(text, pattern) for text in (self.url, base_name(self.url)))


@dataclass(frozen=True)
class _Items:
    """What partitions shall not cover any more.

    Attributes:
        items: by their whole names.
        ids: of tracks and songs: whatever has one of them in its name.
    """

    items: Set[str]
    ids: Set[str]

    def __contains__(self, item: object) -> bool:
        return isinstance(item, str) and (
            item in self.items or not self.ids.isdisjoint(item.split("|"))
        )


def forget(
    workspace: Workspace, names: Sequence[str], pattern: str = "", *, dry_run: bool = False
) -> Forgotten:
    """Remove music and everything derived from it, but for models and detectors.

    Args:
        workspace: where.
        names: ids of tracks or songs; paths, URLs or names of source files; names of songs.
        pattern: a glob of source files.
        dry_run: only tell.

    Raises:
        UserError: a name or the pattern fits nothing; before anything is removed.
    """
    if not (names or pattern):
        raise UserError("forget what? Name tracks, songs or files, or give --source PATTERN")
    if dry_run:
        return _forget(workspace, names, pattern, dry_run=True)
    with writing(workspace, new_run_id(STAGE), STAGE):
        return _forget(workspace, names, pattern, dry_run=False)


def _forget(
    workspace: Workspace, names: Sequence[str], pattern: str, *, dry_run: bool
) -> Forgotten:
    manifests = Manifests(workspace)
    with reading(workspace, READ, retired=True) as database:
        music = _matching(workspace, database, names, pattern)
        ids = {found.track_id for found in music}
        result = Forgotten(
            dry_run=dry_run,
            names={found.track_id: found.name for found in music},
        )
        heard = {kind: _hearers(workspace, database, kind, ids) for kind in ("models", "detectors")}
        result.models, result.detectors = sorted(heard["models"]), sorted(heard["detectors"])
        items, called, files = _derived(database, ids)
        in_reports = _in_reports(workspace, database, called, music)
    audio = [path for found in music for path in _audio(workspace, found)]
    traces = in_reports.traces()
    result.files = sum(workspace.exists(path) for path in audio + files) + len(traces.files)
    result.texts = len(traces.texts) + len(traces.pages)
    if not dry_run:
        _record(manifests, music)
        for kind, hearers in heard.items():
            for name, heard_ids in hearers.items():
                marked = sorted(heard_ids.union(registry.forgotten(workspace, kind, name)))
                path = f"{kind}/{name}/{registry.FORGOTTEN}"
                workspace.put_json(path, {"track_ids": marked})
        in_reports.remove(traces)
        for path in files:
            workspace.remove(path)
    # what was made last goes first
    for table in reversed(TABLES.values()):
        if table is STEMS and not dry_run:
            for path in audio:
                workspace.remove(path)
        hits = partial(_hits, columns=table.music, ids=pa.array([*ids], pa.string()))
        for partition in manifests.partitions(table.name) if table.music else ():
            gone = remove_rows(
                manifests, partition, hits, _Items(items, ids), columns=table.music, dry_run=dry_run
            )
            if gone:
                result.rows[table.name] = result.rows.get(table.name, 0) + gone
    return result


def _matching(
    workspace: Workspace, database: duckdb.DuckDBPyConnection, names: Sequence[str], pattern: str
) -> list[_Music]:
    """The tracks and songs that are meant, those among them that were forgotten before."""
    rows = database.sql(f"""
        SELECT track_id, corpus, source_url, '' FROM tracks
        UNION SELECT track_id, corpus, unnest({FILES_OF_STEM}), song FROM stems
        UNION SELECT item, corpus, detail, '' FROM rejects WHERE fingerprint = '{RECORDS}'
        ORDER BY ALL
    """).fetchall()
    copies = database.sql(f"""
        SELECT track_id, corpus, source_url, '' FROM {FILES_OF_TRACKS}
        ANTI JOIN tracks USING (track_id, corpus, source_url) ORDER BY ALL
    """).fetchall()
    known, held = ([_File.of(*row) for row in found] for found in (rows, copies))
    asked = _asked([*known, *held], names)
    if pattern:
        asked[pattern] = [file for file in known if file.fits(pattern)]
    for name, meant in sorted(asked.items()):
        if not meant:
            raise UserError(
                f"{name!r}: no track, song or source file of that name here; see "
                + workspace.command("manifests query 'SELECT track_id, source_url FROM tracks'")
            )
    named = [file.music for meant in asked.values() for file in meant]
    ids = {music.track_id for music in named}
    # in whatever corpora it is; of those that were asked for the name is what it was asked by
    there = [file.music for file in known if file.music.track_id in ids]
    found = {(music.track_id, music.corpus): music for music in reversed([*named, *there])}
    return [found[key] for key in sorted(found)]


def _asked(files: Iterable[_File], names: Sequence[str]) -> dict[str, list[_File]]:
    """What each name means of some files; one that is none may be the end of one."""
    whole: dict[str, list[_File]] = {name: [] for name in names}
    ending: dict[str, list[_File]] = {name: [] for name in names if is_ending(name)}
    names_of: dict[str, set[str]] = {}
    for name in names:
        for address in addresses(name):
            names_of.setdefault(address, set()).add(name)
    for file in files:
        music = file.music
        for address in {music.track_id, music.name, file.url} & names_of.keys():
            for name in names_of[address]:
                whole[name].append(file)
        for name in ending.keys() & set(endings(file.url)):
            ending[name].append(file)
    return {name: meant or ending.get(name, []) for name, meant in whole.items()}


def _hearers(
    workspace: Workspace, database: duckdb.DuckDBPyConnection, kind: str, ids: Set[str]
) -> dict[str, set[str]]:
    """The finished detectors or models that heard some of it, and what each heard."""
    rows = database.execute(
        "SELECT fingerprint, list(track_id) FROM heard WHERE heard_by = $kind AND "
        "track_id IN (SELECT unnest($ids)) GROUP BY ALL",
        {"kind": kind, "ids": sorted(ids)},
    ).fetchall()
    return {name: set(found) for name, found in rows if registry.finished(workspace, kind, name)}


def _derived(
    database: duckdb.DuckDBPyConnection, ids: Set[str]
) -> tuple[set[str], set[str], list[str]]:
    """Items of the manifests, names in reports, and files: of museval, and labels."""
    database.execute("CREATE TABLE gone AS SELECT unnest($ids) AS track_id", {"ids": sorted(ids)})

    def column(query: str) -> list[str]:
        return [value for [value] in database.sql(query).fetchall()]

    segments = column("SELECT DISTINCT segment_id FROM segments SEMI JOIN gone USING (track_id)")
    remixes = column(
        "SELECT DISTINCT remix_id FROM remixes WHERE track_id IN (FROM gone) OR "
        + adds_any_of("(SELECT list(track_id) FROM gone)")
    )
    items = column(
        "SELECT DISTINCT source_url || '|' || source_bytes FROM tracks SEMI JOIN gone "
        "USING (track_id) UNION SELECT item FROM source_files SEMI JOIN gone USING (track_id) "
        "UNION SELECT split || '/' || song FROM stems SEMI JOIN gone "
        "USING (track_id) UNION SELECT split || '/' || song || '|' || identity "
        "FROM labelled_files SEMI JOIN (FROM stems SEMI JOIN gone USING (track_id)) "
        "USING (corpus, split, song)"
    )
    scored = column(
        f"SELECT DISTINCT museval_path FROM {EVALUATIONS.name} SEMI JOIN gone USING (track_id)"
    )
    labels = column(
        "SELECT DISTINCT stem.path FROM (SELECT unnest(added) AS stem FROM remixes "
        "WHERE model_id <> '') WHERE stem.track_id IN (FROM gone)"
    )
    return {*ids, *segments, *items}, {*ids, *segments, *remixes}, [*scored, *labels]


def _in_reports(
    workspace: Workspace,
    database: duckdb.DuckDBPyConnection,
    ids: Set[str],
    music: Sequence[_Music],
) -> InReports:
    """How reports know the music: by ids, files and songs; and by who validated on a song."""

    def column(query: str) -> set[str]:
        return {value for [value] in database.sql(query).fetchall()}

    files = column(
        "SELECT source_url FROM tracks SEMI JOIN gone USING (track_id) "
        "UNION SELECT source_url FROM source_files SEMI JOIN gone USING (track_id)"
    )
    songs = column("SELECT song FROM stems SEMI JOIN gone USING (track_id)")
    called = files | songs | {found.name for found in music}
    # the name alone of a stem's file is that of other songs' files
    stems = column(f"SELECT unnest({FILES_OF_STEM}) FROM stems SEMI JOIN gone USING (track_id)")
    trainings = column(
        "SELECT run_id FROM runs SEMI JOIN (FROM heard SEMI JOIN gone USING (track_id) "
        "WHERE heard_by = 'models' AND labelled AND track_id NOT IN "
        "(SELECT track_id FROM stems WHERE split = 'train')) USING (fingerprint)"
    )
    return InReports(
        workspace=workspace,
        named=Named(ids=ids, names={*called, *map(base_name, called), *stems}),
        songs=songs | {found.name for found in music},
        trainings=trainings,
    )


def _hits(batch: pa.RecordBatch, columns: Sequence[str], ids: pa.StringArray) -> pa.BooleanArray:
    """Which rows name one of the tracks and songs."""
    hits = [
        adds_stem_of(batch, ids)
        if pa.types.is_list(batch.schema.field(name).type)
        else pc.is_in(batch[name], ids)
        for name in columns
    ]
    return reduce(pc.or_, hits)


def _record(manifests: Manifests, music: Iterable[_Music]) -> None:
    known = forgotten(manifests)
    for corpus in sorted({found.corpus for found in music}):
        rows = [
            reject_row(STAGE, found.track_id, FORGOTTEN[0], found.name)
            for found in music
            if found.corpus == corpus and found.track_id not in known
        ]
        if rows:
            partition = Partition(REJECTS.name, corpus, RECORDS)
            manifests.write(partition, [str(row["item"]) for row in rows], rows)


def _audio(workspace: Workspace, music: _Music) -> list[str]:
    """The canonical audio of a track or a song."""
    song = workspace.find(f"audio/{music.corpus}/{music.track_id}")
    return [track_path(music.corpus, music.track_id), *song]
