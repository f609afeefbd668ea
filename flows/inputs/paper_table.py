"""The figures that a paper prints of a model."""

from __future__ import annotations

import numpy as np

from demucs_core import SOURCES
from demucs_core.metrics.comparison import median_sdr
from storage.manifests import Manifests, Partition


def paper_table(manifests: Manifests, partition: Partition) -> dict[str, float]:
    """Median over songs of the median over frames of the SDR, a source, and their mean."""
    scores: dict[str, dict[str, float]] = {}
    for row in manifests.rows(partition, ["track_id", "source", "sdr_db"]):
        scores.setdefault(row["track_id"], {})[row["source"]] = row["sdr_db"]
    matrix = np.array([[song[source] for source in SOURCES] for song in scores.values()])
    medians = median_sdr(matrix.reshape(len(scores), len(SOURCES)))
    return dict(zip((*SOURCES, "mean"), medians.tolist(), strict=True))
