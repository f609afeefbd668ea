"""The figures that a paper prints of a model, and which models have them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from demucs_core.metrics.medians import median_sdr
from storage.tables.manifests import Manifests, Partition
from storage.tables.runs import runs_of
from storage.tables.schemas import RUNS


def evaluated_models(manifests: Manifests) -> Iterator[tuple[Partition, str]]:
    """The evaluations of a workspace that have scores, and the model that each is of."""
    for partition in manifests.partitions("evaluations"):
        row = next(manifests.rows(partition, ["model_id"]), None)
        if row is not None:
            yield partition, row["model_id"]


def sdr_of_models(manifests: Manifests) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of every model that was evaluated, by what they are of: "2 songs of labelled".

    Of several evaluations on the songs of one corpus, those of the one that ran last.
    """
    evaluations: dict[tuple[str, str], list[Partition]] = {}
    for partition, model in evaluated_models(manifests):
        evaluations.setdefault((model, partition.corpus), []).append(partition)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (model, corpus), partitions in evaluations.items():
        num_songs, medians = _medians(manifests, _last(manifests, partitions))
        songs = f"{num_songs} song{'s' if num_songs != 1 else ''} of {corpus}"
        found.setdefault(model, {})[songs] = medians
    return found


def paper_table(manifests: Manifests, partition: Partition) -> dict[str, float]:
    """Median over songs of the median over frames of the SDR, a source, and their mean."""
    return _medians(manifests, partition)[1]


def _last(manifests: Manifests, partitions: Sequence[Partition]) -> Partition:
    if len(partitions) == 1:
        return partitions[0]

    def ran_at(partition: Partition) -> float:
        run = next(runs_of(manifests, replace(partition, table=RUNS.name)), None)
        return 0.0 if run is None else run.started_at.timestamp()

    return max(partitions, key=ran_at)


def _medians(manifests: Manifests, partition: Partition) -> tuple[int, dict[str, float]]:
    """How many songs there are, and the figures."""
    sources = manifests.workspace.music.sources
    scores: dict[str, dict[str, float]] = {}
    for row in manifests.rows(partition, ["track_id", "source", "sdr_db"]):
        scores.setdefault(row["track_id"], {})[row["source"]] = row["sdr_db"]
    matrix = np.array([[song[source] for source in sources] for song in scores.values()])
    medians = median_sdr(matrix.reshape(len(scores), len(sources)))
    return len(scores), dict(zip((*sources, "mean"), medians.tolist(), strict=True))
