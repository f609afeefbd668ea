"""The figures that a paper prints of a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demucs_core import SOURCES
from demucs_core.comparison import median_sdr
from storage.manifests import Manifests, Partition


def paper_table(manifests: Manifests, partition: Partition) -> dict[str, float]:
    """Median over songs of the median over frames of the SDR, a source, and their mean."""
    scores = song_scores(manifests, partition)
    matrix = np.array(list(scores.values())).reshape(len(scores), len(SOURCES))
    return dict(zip((*SOURCES, "mean"), median_sdr(matrix).tolist(), strict=True))


def song_scores(manifests: Manifests, partition: Partition) -> dict[str, NDArray[np.float64]]:
    """Each test song's SDR in dB ``(S,)``, the median over frames, by ``track_id``."""
    scores: dict[str, dict[str, float]] = {}
    for row in manifests.rows(partition, ["track_id", "source", "sdr_db"]):
        scores.setdefault(row["track_id"], {})[row["source"]] = row["sdr_db"]
    return {
        track_id: np.array([song[source] for source in SOURCES])
        for track_id, song in scores.items()
    }
