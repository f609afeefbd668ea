"""A corpus with segments to listen to, made by hand: no stage runs for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import SEGMENTS, STEMS
from storage.workspace import Workspace

RATE = 16_000
SOURCES = ("bass", "voice")
TONE_HZ = 1_000.0
TRACK_S = 20
SEGMENTS_OF = Partition(SEGMENTS.name, "live", "found")


def heard_corpus(folder: Path) -> Workspace:
    """Six segments of a second, in each of which both sources are silent; a stem of each source."""
    music = MusicFormat(sources=SOURCES, sample_rate=RATE, num_channels=1)
    workspace = Workspace(str(folder), create=True, music=music)
    manifests = Manifests(workspace)
    time_s = np.arange(TRACK_S * RATE) / RATE
    sounds = {
        "track": np.random.default_rng(0).uniform(-0.1, 0.1, time_s.size),
        "bass": np.sin(2 * np.pi * 80 * time_s),
        "voice": np.sin(2 * np.pi * TONE_HZ * time_s),
    }
    for name, sound in sounds.items():
        path = Path(workspace.resolve(f"audio/{name}.wav"))
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sound, RATE, "PCM_16")
    stems = [
        {
            "track_id": "song", "song": "Song", "split": "train", "source": source,
            "path": f"audio/{source}.wav", "source_url": f"/{source}.wav", "take_urls": "",
            "num_samples": time_s.size, "sample_rate": RATE, "duration_s": float(TRACK_S),
            "padded_s": 0.0, "residual_db": 0.0, "gain_db": 0.0, "level_db": 0.0,
            "content_hash": source,
        }
        for source in SOURCES
    ]  # fmt: skip
    manifests.write(Partition(STEMS.name, "labelled", "made"), ["song"], stems)
    segments = [
        {
            "segment_id": f"segment-{number}", "track_id": "track", "path": "audio/track.wav",
            "track_num_samples": time_s.size, "start_sample": number * 3 * RATE,
            "stop_sample": (number * 3 + 1) * RATE, "duration_s": 1.0,
            "silent_sources": list(SOURCES), "mean_probability": [0.9 + number / 100] * 2,
            "min_probability": [0.9] * 2, "level_db": -20.0, "detector_id": "d",
            "scores_fingerprint": "s", "policy": "{}",
        }
        for number in range(6)
    ]  # fmt: skip
    manifests.write(SEGMENTS_OF, ["track"], segments)
    return workspace


def answers(workspace: Workspace) -> dict[str, str]:
    """What the manifest says was answered, by segment and source."""
    manifests = Manifests(workspace)
    return {
        f"{row['segment_id']}/{row['source']}": row["answer"]
        for partition in manifests.partitions("audits")
        for row in manifests.rows(partition)
    }
