"""What a Dask worker does of scoring: batches of tracks through the detector, on its own device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from demucs_core.activity import stream_level_db
from demucs_core.detector.scoring import DEFAULT_CHUNK_FRAMES, score_chunks
from flows.inputs import networks
from flows.running import devices
from flows.running.dividing import Divisible, halved
from flows.running.rejects import reject_damaged, reject_killer, reject_row
from storage.local_cache import LocalCache, cache_folder
from storage.reading import AsWritten, CanonicalAudioError, CropReader
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import REJECTS
from storage.workspace import Workspace

STAGE = "score"
COPIES_BYTES = 4 * 2**30
"""Of all workers of a machine: audio of some hours."""


@dataclass(frozen=True)
class ScoreBatch(Divisible[dict[str, float]]):
    """Tracks that one Dask task scores."""

    partition: Partition
    workspace: Workspace
    detector: str
    device: str
    batch_chunks: int
    tracks: Sequence[dict[str, Any]]

    def halves(self) -> Sequence[Self]:
        """Two batches of its tracks; none where it is one track."""
        return [replace(self, tracks=tracks) for tracks in halved(self.tracks)]

    def refused(self, detail: str) -> dict[str, float]:
        """Its one track is a reject."""
        [track] = self.tracks
        manifests = Manifests(self.workspace)
        return reject_killer(manifests, self.partition, STAGE, track["track_id"], detail)


def _copies(workspace: Workspace) -> LocalCache | None:
    """Where audio that is elsewhere is kept while it is read twice: for scores, and for levels."""
    return None if workspace.is_local else LocalCache(cache_folder("scoring"), COPIES_BYTES)


def score_batch(batch: ScoreBatch) -> dict[str, float]:
    """Score a batch of tracks and write its part of ``scores``; what can't be scored is rejected.

    Returns:
        How many tracks were scored and rejected, and the seconds of music in them.
    """
    device = devices.own_device(batch.device)
    detector = networks.load_detector(batch.workspace, batch.detector, device)
    reader = CropReader(batch.workspace.location, _copies(batch.workspace))
    damaged: dict[str, CanonicalAudioError] = {}
    rows, rejects, duration_s = [], [], 0.0
    for track in batch.tracks:
        path, num_samples = track["path"], track["num_samples"]
        problem = ""
        try:
            heard = AsWritten(track.get("content_hash", ""), path)
            probability = score_chunks(
                detector,
                lambda start, num, path=path: reader(path, start, num),  # type: ignore[misc]
                num_samples,
                chunk_frames=DEFAULT_CHUNK_FRAMES,
                batch_size=1 if device == "cpu" else batch.batch_chunks,
                device=device,
            )
            blocks = heard.through(reader.blocks(path))
            level_db = stream_level_db(blocks, detector.config.hop_samples)
            heard.require()
            if not np.isfinite(probability).all():
                problem = "the detector gave NaN"
        except CanonicalAudioError as error:
            damaged[track["track_id"]] = error
            continue
        except ValueError as error:  # other I/O errors pass; a retry may help
            problem = f"{type(error).__name__}: {error}"
        if problem:
            rejects.append(reject_row(STAGE, track["track_id"], "not_scored", problem))
            continue
        duration_s += num_samples / detector.config.sample_rate
        rows.append(
            {
                "track_id": track["track_id"],
                "detector_id": batch.detector,
                "path": path,
                "num_samples": num_samples,
                "sources": list(detector.config.sources),
                "hop_samples": detector.config.hop_samples,
                "num_frames": probability.shape[1],
                "silence_probability": list(probability),
                "level_db": level_db,
            }
        )
    items = [track["track_id"] for track in batch.tracks if track["track_id"] not in damaged]
    manifests = Manifests(batch.workspace)
    refused = replace(batch.partition, table=REJECTS.name)
    if rejects:
        manifests.write(refused, items, rejects)
    num_damaged = reject_damaged(manifests, refused, STAGE, damaged)
    if items:
        manifests.write(batch.partition, items, rows)
    return {
        "tracks": len(rows),
        "rejected": len(rejects) + num_damaged,
        "seconds": duration_s,
    }
