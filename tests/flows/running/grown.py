"""The finished workspace with more tracks, which stages work on wherever it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.running.stage import StageResult
from flows.score.flow import score
from flows.score.options import ScoreParameters
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import Finished


@dataclass(frozen=True)
class Grown:
    """Where it is, and what it is a copy of.

    Attributes:
        root: its place.
        finished: what it is a copy of.
        dask_address: where its stages work; empty for here.
    """

    root: str
    finished: Finished
    dask_address: str = ""

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    def grow(self, num_tracks: int) -> None:
        """Add tracks that are not scored, each in a part of its own."""
        manifests, tracks = Manifests(self.workspace), self.finished.only("tracks", "music")
        [row, *_] = self.finished.manifests.rows(tracks)
        for number in range(num_tracks):
            more = {**row, "track_id": f"{number:016x}"}
            manifests.write(tracks, [f"more {number}"], [more])

    def rows(self, table: str, made: StageResult) -> list[str]:
        """What a run wrote, in no order."""
        partition = Partition(table, "music", made.fingerprint)
        return sorted(map(repr, Manifests(self.workspace).rows(partition)))

    def score(self) -> StageResult:
        return score(ScoreParameters(**self._common, detector=self._detector, batch_tracks=1))

    def extract(self, min_duration_s: float = 1.0) -> StageResult:
        options = self.finished.parameters.extract.model_dump()
        options |= {"min_duration_s": min_duration_s}
        return extract(ExtractParameters(**self._common, detector=self._detector, **options))

    def remix(self) -> StageResult:
        labelled = self.finished.parameters.labelled_corpus
        return remix(RemixParameters(**self._common, labelled=labelled))

    @property
    def _common(self) -> dict[str, Any]:
        return {"workspace": self.root, "corpus": "music", "dask_address": self.dask_address}

    @property
    def _detector(self) -> str:
        results = self.finished.results
        return next(each.fingerprint for each in results if each.stage == "fit-detector")
