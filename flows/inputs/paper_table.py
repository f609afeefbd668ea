"""The figures that a paper prints of a model."""

from __future__ import annotations

import numpy as np

from demucs_core.metrics.medians import median_sdr
from storage.manifests import Manifests, Partition


def paper_table(manifests: Manifests, partition: Partition) -> dict[str, float]:
    """Median over songs of the median over frames of the SDR, a source, and their mean."""
    sources = manifests.workspace.music.sources
    scores: dict[str, dict[str, float]] = {}
    for row in manifests.rows(partition, ["track_id", "source", "sdr_db"]):
        scores.setdefault(row["track_id"], {})[row["source"]] = row["sdr_db"]
    matrix = np.array([[song[source] for source in sources] for song in scores.values()])
    medians = median_sdr(matrix.reshape(len(scores), len(sources)))
    return dict(zip((*sources, "mean"), medians.tolist(), strict=True))
