"""The figures that a paper prints of a model, and which models have them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from demucs_core.metrics.medians import median_sdr
from storage.tables.manifests import Manifests, Partition


def evaluated_models(manifests: Manifests) -> Iterator[tuple[Partition, str]]:
    """The evaluations of a workspace that have scores, and the model that each is of."""
    for partition in manifests.partitions("evaluations"):
        row = next(manifests.rows(partition, ["model_id"]), None)
        if row is not None:
            yield partition, row["model_id"]


def sdr_of_models(manifests: Manifests) -> dict[str, dict[str, float]]:
    """The figures of every model that was evaluated."""
    return {
        model: paper_table(manifests, partition) for partition, model in evaluated_models(manifests)
    }


def paper_table(manifests: Manifests, partition: Partition) -> dict[str, float]:
    """Median over songs of the median over frames of the SDR, a source, and their mean."""
    sources = manifests.workspace.music.sources
    scores: dict[str, dict[str, float]] = {}
    for row in manifests.rows(partition, ["track_id", "source", "sdr_db"]):
        scores.setdefault(row["track_id"], {})[row["source"]] = row["sdr_db"]
    matrix = np.array([[song[source] for source in sources] for song in scores.values()])
    medians = median_sdr(matrix.reshape(len(scores), len(sources)))
    return dict(zip((*sources, "mean"), medians.tolist(), strict=True))
