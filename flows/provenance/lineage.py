"""Where things come from and what came of them: files → tracks → segments → remixes → models.

The walk is SQL over the manifests: from the id it is asked for follows, for each manifest, which
rows are on the way. Rows are counted where they lie; only the first ids of each come here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import duckdb
from pydantic import BaseModel

from flows.inputs import registry
from flows.inputs.forgotten import RECORDS
from flows.inputs.given_names import given_names
from flows.provenance.named_files import addresses, is_ending
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.sql import (
    FILES_OF_STEM,
    FILES_OF_TRACKS,
    adds_any_of,
    any_of,
    quoted,
    reading,
)
from storage.workspace import Workspace

Kind = Literal["model", "detector", "track", "song", "segment", "remix", "file"]
READ = ("tracks", "source_files", "stems", "segments", "remixes", "heard", "rejects")
NOTHING = "false"


class Listing(BaseModel):
    """Rows that are on the way: how many a partition, and the first of their names."""

    count: int = 0
    partitions: dict[str, int] = {}
    first: list[str] = []


class Hearer(BaseModel):
    """A detector or a model that heard what was asked for.

    Attributes:
        id: its name.
        num_remixes: recipes in reach of its training that are on the way.
        num_forgotten: tracks and songs it heard that were forgotten since.
    """

    id: str
    num_remixes: int = 0
    num_forgotten: int = 0


class Lineage(BaseModel):
    """All that an id came from, and all that came of it.

    Attributes:
        forgotten: whether it was forgotten since.
        retired: what of it is not current any more, why, and what is in its place.
        found_by: detectors whose scores the segments came from.
        taught_by: models whose estimates are the labels of remixes.
        detectors: those that were trained on the songs.
        models: those that may have heard it: it was in reach of their training.
    """

    id: str
    kind: Kind
    forgotten: bool = False
    retired: list[str] = []
    files: Listing = Listing()
    tracks: Listing = Listing()
    songs: Listing = Listing()
    segments: Listing = Listing()
    remixes: Listing = Listing()
    found_by: list[str] = []
    taught_by: list[str] = []
    detectors: list[Hearer] = []
    models: list[Hearer] = []


@dataclass(frozen=True, kw_only=True)
class Way:
    """For each manifest, the SQL condition of the rows on the way.

    Attributes:
        through_remixes: models are on the way only if they draw from one of the remixes'
            partitions.
    """

    kind: Kind
    tracks: str = NOTHING
    stems: str = NOTHING
    segments: str = NOTHING
    remixes: str = NOTHING
    heard: str = NOTHING
    through_remixes: bool = False
    forgotten: bool = False


def lineage(workspace: Workspace, name: str, *, most: int = 20) -> Lineage:
    """Walk both ways from an id.

    Args:
        workspace: where.
        name: id of a model, detector, track, song, segment or remix; or the path, URL or name of a
            source file or of a labelled song.
        most: names to list a manifest; 0 lists all.

    Raises:
        UserError: nothing has that name.
    """
    for kind in ("models", "detectors"):
        name = given_names(workspace, kind).get(name, name)
    with reading(workspace, READ, retired=True) as database:
        way = _find(workspace, database, name)
        if way is None:
            raise UserError(
                f"{workspace.location}: nothing here is called {name!r}; it may be the id of a "
                "model, detector, track, song, segment or remix, or the path of a source file"
            )
        walk = _Walk(workspace, database, way, most)
        files = (
            f"(SELECT corpus, fingerprint, source_url FROM {FILES_OF_TRACKS} WHERE {way.tracks} "
            "UNION ALL "
            f"SELECT corpus, fingerprint, unnest({FILES_OF_STEM}) FROM stems WHERE {way.stems})"
        )
        segments, found_by = walk.listing("segments", "segment_id", way.segments, by="detector_id")
        remixes, taught_by = walk.listing("remixes", "remix_id", way.remixes, by="model_id")
        return Lineage(
            id=name,
            kind=way.kind,
            forgotten=way.forgotten,
            retired=_retired(Manifests(workspace), database, way),
            files=walk.listing(files, "source_url", "source_url <> ''", once=True)[0],
            tracks=walk.listing("tracks", "track_id", way.tracks)[0],
            songs=walk.listing("stems", "track_id", way.stems, once=True)[0],
            segments=segments,
            remixes=remixes,
            found_by=found_by,
            taught_by=taught_by,
            **walk.hearers(remixes),
        )


def _retired(manifests: Manifests, database: duckdb.DuckDBPyConnection, way: Way) -> list[str]:
    """What is retired of the track, song or file that the way begins at."""
    if way.kind not in ("track", "song", "file"):
        return []
    query = (
        f"SELECT DISTINCT corpus, track_id FROM tracks WHERE {way.tracks} "
        f"UNION SELECT DISTINCT corpus, track_id FROM stems WHERE {way.stems}"
    )
    found = set(database.sql(query).fetchall())
    return [
        f"{f'{key.split} song {key.name}' if key.name else f'track {key.track_id}'} of {corpus}: "
        f"{why.reason}, it is {why.superseded_by}"
        for corpus in manifests.retired().corpora()
        for key, why in sorted(manifests.retired().of_corpus(corpus).items())
        if key.manifest in ("stems", "tracks") and (corpus, key.track_id) in found
    ]


def _find(workspace: Workspace, database: duckdb.DuckDBPyConnection, name: str) -> Way | None:
    """Which rows are on the way to and from ``name``."""
    this = quoted(name)

    def ids(table: str, condition: str, column: str = "track_id") -> list[str]:
        rows = database.sql(f"SELECT DISTINCT {column} FROM {table} WHERE {condition}").fetchall()
        return sorted(value for [value] in rows)

    if registry.finished(workspace, "models", name):
        return _of_model(this, remixes_of(workspace, name))
    if registry.finished(workspace, "detectors", name):
        return _of_detector(this)
    if found := ids("tracks", f"track_id = {this}"):
        return _of_tracks("track", found)
    if found := ids("stems", f"{this} IN (track_id, song)"):
        return _of_songs("song", found)
    of_songs = f"(SELECT track_id, unnest({FILES_OF_STEM}) AS source_url FROM stems)"
    records = f"(SELECT item, detail AS source_url FROM rejects WHERE fingerprint = '{RECORDS}')"
    for is_file in _is_file(name):
        if found := ids(FILES_OF_TRACKS, is_file):
            return _of_tracks("file", found)
        if found := ids(of_songs, is_file):
            return _of_songs("file", found)
        if found := ids(records, f"item = {this} OR {is_file}", "item"):
            return replace(_of_tracks("track", found), forgotten=True)
    # last, since there are millions of them
    if found := ids("segments", f"segment_id = {this}"):
        return _of_segment(this, found)
    recipes = database.sql(
        "SELECT track_id, [stem.track_id FOR stem IN added], corpus, segments_fingerprint, "
        f"segment_id FROM remixes WHERE remix_id = {this}"
    ).fetchall()
    return _of_remix(this, recipes) if recipes else None


def _is_file(name: str) -> Iterator[str]:
    """SQL for: a row's file is the one of that address; or one whose address ends so."""
    yield _is_one_of("source_url", addresses(name))
    if is_ending(name):
        yield f"ends_with(source_url, {quoted(f'/{name}')})"


def _of_tracks(kind: Kind, tracks: Iterable[str]) -> Way:
    chosen = _is_one_of("track_id", tracks)
    return Way(kind=kind, tracks=chosen, segments=chosen, remixes=chosen, heard=chosen)


def _of_songs(kind: Kind, songs: Sequence[str]) -> Way:
    chosen = _is_one_of("track_id", songs)
    adds_one = adds_any_of(f"[{_listed(songs)}]")
    return Way(kind=kind, stems=chosen, remixes=adds_one, heard=chosen)


def _is_one_of(column: str, values: Iterable[str]) -> str:
    """SQL for: a column is one of some values, told one by one, so that whole parts are passed."""
    return f"{column} IN ({_listed(values)})"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(map(quoted, values)) or "NULL"


def _of_segment(this: str, tracks: Iterable[str]) -> Way:
    chosen, of_tracks = f"segment_id = {this}", _is_one_of("track_id", tracks)
    return Way(
        kind="segment", tracks=of_tracks, segments=chosen, remixes=chosen, heard=of_tracks,
        through_remixes=True,
    )  # fmt: skip


def _of_remix(this: str, recipes: Sequence[tuple[str, list[str], str, str, str]]) -> Way:
    tracks = _is_one_of("track_id", {track for track, *_ in recipes})
    segments = (
        f"({any_of([Partition('segments', corpus, made)])} AND segment_id = {quoted(segment)})"
        for _, _, corpus, made, segment in recipes
    )
    return Way(
        kind="remix",
        tracks=tracks,
        stems=_is_one_of("track_id", {stem for _, added, *_ in recipes for stem in added}),
        segments=" OR ".join(segments),
        remixes=f"remix_id = {this}",
        heard=tracks,
        through_remixes=True,
    )


def _of_detector(this: str) -> Way:
    chosen = f"detector_id = {this}"
    found = f"FROM segments WHERE {chosen}"
    return Way(
        kind="detector",
        tracks=f"track_id IN (SELECT track_id {found})",
        stems=f"track_id IN (SELECT track_id FROM heard WHERE fingerprint = {this})",
        segments=chosen,
        remixes=f"(corpus, segments_fingerprint) IN (SELECT (corpus, fingerprint) {found})",
        heard=f"heard_by = 'models' OR fingerprint = {this}",
        through_remixes=True,
    )


def _of_model(this: str, partitions: Sequence[Partition]) -> Way:
    heard = f"SELECT track_id FROM heard WHERE fingerprint = {this}"
    remixes = f"{any_of(partitions)} AND track_id IN ({heard})"
    return Way(
        kind="model",
        tracks=f"track_id IN ({heard} AND NOT labelled)",
        stems=f"track_id IN ({heard} AND labelled)",
        segments="(corpus, fingerprint) IN (SELECT (corpus, segments_fingerprint) FROM remixes "
        f"WHERE {remixes}) AND track_id IN ({heard})",
        remixes=remixes,
        heard=f"fingerprint = {this}",
    )


def remixes_of(workspace: Workspace, model: str) -> list[Partition]:
    """The partitions of ``remixes`` that a model was trained on, from its description."""
    made_from = registry.described_with(workspace, model, "made_from")["made_from"]
    partitions = (Partition(*name.split("/")) for name in made_from)
    return [partition for partition in partitions if partition.table == "remixes"]


class _Walk:
    """Counts and names what is on the way."""

    def __init__(
        self, workspace: Workspace, database: duckdb.DuckDBPyConnection, way: Way, most: int
    ) -> None:
        self._workspace, self._database, self._way, self._most = workspace, database, way, most

    def listing(
        self, table: str, key: str, condition: str, *, once: bool = False, by: str = "''"
    ) -> tuple[Listing, list[str]]:
        """What is on the way of one manifest, and whose work it is: in one pass over the rows.

        Args:
            table: the manifest.
            key: a row's name.
            condition: which rows.
            once: several rows have the same name.
            by: whose work a row is; empty where it is nobody's.
        """
        each = "DISTINCT" if once else ""
        first = f"min(name, {self._most})" if self._most else "list(name)"
        found = self._database.sql(
            f"SELECT place, count(*), {first}, list(DISTINCT maker) FROM (SELECT {each} "
            f"corpus || '/' || fingerprint AS place, {key} AS name, {by} AS maker FROM {table} "
            f"WHERE {condition}) GROUP BY place ORDER BY place"
        ).fetchall()
        names = sorted({name for *_, names, _ in found for name in names})
        listing = Listing(
            count=sum(count for _, count, *_ in found),
            partitions={place: count for place, count, *_ in found},
            first=names[: self._most or None],
        )
        return listing, sorted({maker for *_, makers in found for maker in makers} - {""})

    def hearers(self, remixes: Listing) -> dict[str, list[Hearer]]:
        """The detectors and models that heard what is on the way."""
        rows = self._database.sql(
            f"SELECT DISTINCT heard_by, fingerprint FROM heard WHERE {self._way.heard} ORDER BY ALL"
        ).fetchall()
        found: dict[str, list[Hearer]] = {"detectors": [], "models": []}
        for kind, name in rows:
            if not registry.finished(self._workspace, kind, name):
                continue
            num_remixes = 0
            if kind == "models":
                drawn = remixes_of(self._workspace, name)
                num_remixes = sum(
                    remixes.partitions.get(f"{partition.corpus}/{partition.fingerprint}", 0)
                    for partition in drawn
                )
                if self._way.through_remixes and not num_remixes:
                    continue
            forgotten = len(registry.forgotten(self._workspace, kind, name))
            hearer = Hearer(id=name, num_remixes=num_remixes, num_forgotten=forgotten)
            found[kind].append(hearer)
        return found
