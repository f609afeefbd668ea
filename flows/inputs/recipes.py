"""The recipes of ``remixes`` as training wants them: one by one, however many there are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedRandom
from typing import Any

import pyarrow as pa

from demucs_core.training.recipes import AddedStem, Recipe
from flows.inputs.recipe_index import Pool, RecipeIndex, write_index
from storage.fingerprint import short_hash
from storage.local_cache import LocalCache
from storage.tables.manifests import Manifests, Partition, RowGroup
from storage.workspace import Workspace

VERSION = 1
"""Of what is kept in the cache."""
ROWS_AT_ONCE = 256
"""Of the rows that are read to get one: as many as lie together in the cached file."""
COLUMNS = (
    "remix_id", "path", "track_num_samples", "start_sample", "stop_sample", "silent_sources",
    "confidence", "added",
)  # fmt: skip


class RecipeTable:
    """All recipes of some partitions, of which none is held: they are drawn from files.

    What is slow to find in Parquet, single rows, is kept in a cache: an index, made in one pass
    where it is missing, and each row group in a form that rows are read from, once it is needed.
    So it starts in seconds with any number of recipes, in memory that does not grow with them,
    and pickles to a name.

    Args:
        workspace: whose recipes.
        remixes: the partitions, each with its digest.
        cache: where to keep the index and the rows.
        confidence_weighting: a recipe's weight is the detector's confidence to this power.

    Raises:
        UserError: a recipe has sources that the workspace has not.
    """

    def __init__(
        self,
        workspace: Workspace,
        remixes: Mapping[Partition, str],
        cache: LocalCache,
        *,
        confidence_weighting: float = 0.0,
    ) -> None:
        self._workspace = workspace
        self._remixes = dict(sorted(remixes.items()))
        self._cache = cache
        self._confidence_weighting = confidence_weighting
        self._manifests = Manifests(workspace)
        self._indexes: list[RecipeIndex] = []
        sources = sorted({pool for index in self._opened() for pool in index.pools})
        self._pools: dict[int, list[Pool]] = {}
        for source, silent in sources:
            self._pools.setdefault(source, []).append((source, silent))
        self._by_source = list(self._pools.values())
        self.sizes = [[self._size(pool) for pool in pools] for pools in self._by_source]

    def __len__(self) -> int:
        return sum(index.num_rows for index in self._opened())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_indexes": [], "_manifests": Manifests(self._workspace)}

    def recipe(self, source: int, groups: int, number: int) -> Recipe:
        """One recipe, by its place in ``sizes`` and its number there."""
        pool = self._by_source[source][groups]
        for digest, index in zip(self._remixes.values(), self._opened(), strict=True):
            count = index.pools.get(pool, (0, 0))[1]
            if number < count:
                group, row = index.place(pool, number)
                return self._read(digest, group, row)
            number -= count
        raise IndexError(f"{number} more recipes than there are of {pool}")

    def _size(self, pool: Pool) -> int:
        return sum(index.pools.get(pool, (0, 0))[1] for index in self._opened())

    def _opened(self) -> list[RecipeIndex]:
        if not self._indexes:
            for partition, digest in self._remixes.items():
                # the same recipes may lie in other parts, since they were joined
                parts = short_hash(json.dumps(self._manifests.parts(partition)))
                place = f"{self._workspace.location}/{partition.folder}"
                key = f"index/{VERSION}/{place}/{digest}/{parts}"

                def make(file: BufferedRandom, partition: Partition = partition) -> None:
                    write_index(self._manifests, partition, file)

                self._indexes.append(RecipeIndex.read(self._cache.open(key, make)))
        return self._indexes

    def _read(self, digest: str, group: RowGroup, row: int) -> Recipe:
        key = f"rows/{VERSION}/{self._workspace.location}/{group.path}/{group.index}/{digest}"

        def make(file: BufferedRandom) -> None:
            batches = self._manifests.row_group_batches(group, COLUMNS)
            with pa.ipc.new_file(file, batches[0].schema) as writer:
                writer.write_table(pa.Table.from_batches(batches), ROWS_AT_ONCE)

        with self._cache.open(key, make) as file, pa.ipc.open_file(file) as rows:
            batch = rows.get_batch(row // ROWS_AT_ONCE)
        [values] = batch.slice(row % ROWS_AT_ONCE, 1).to_pylist()
        return _recipe(values, self._workspace.music.sources, self._confidence_weighting)


def load_recipes(
    manifests: Manifests, remixes: Partition, confidence_weighting: float = 0.0
) -> Iterator[Recipe]:
    """The recipes of a partition, one after another.

    Args:
        manifests: of the workspace.
        remixes: the partition.
        confidence_weighting: a recipe's weight is the detector's confidence to this power.
    """
    sources = manifests.workspace.music.sources
    for row in manifests.rows(remixes, COLUMNS):
        yield _recipe(row, sources, confidence_weighting)


def _recipe(row: Mapping[str, Any], sources: Sequence[str], confidence_weighting: float) -> Recipe:
    return Recipe(
        remix_id=row["remix_id"],
        track_path=row["path"],
        track_num_samples=row["track_num_samples"],
        segment_start_sample=row["start_sample"],
        segment_stop_sample=row["stop_sample"],
        silent=tuple(sources.index(source) for source in row["silent_sources"]),
        added=tuple(
            AddedStem(
                source=sources.index(stem["source"]),
                path=stem["path"],
                num_samples=stem["track_num_samples"],
                start_sample=stem["start_sample"],
                excerpt_samples=stem["num_samples"],
                gain_db=stem["gain_db"],
            )
            for stem in row["added"]
        ),
        weight=row["confidence"] ** confidence_weighting,
    )
