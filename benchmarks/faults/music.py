"""The smallest music that goes through the whole chain, and how each stage is called on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray

from flows.running.parameters import option_words
from storage.music_format import MusicFormat

MUSIC = MusicFormat(sample_rate=8_000, num_channels=1)
SONG_S = 6.0
SPLITS = {"train": 2, "valid": 3, "test": 1}
NUM_TRACKS = 4
LABELLED, CORPUS, TWIN = "labelled", "music", "twin"
_EVIDENCE = {
    "target_precision": 0.5, "min_songs": 2, "allow_insufficient_evidence": True,
    "min_duration_s": 1.0,
}  # fmt: skip
FIELDS: dict[str, Any] = {
    "workers": 1,
    "ingest": {"batch_files": 1},
    "fit_detector": {"steps": 6, "batch_size": 2, "crop_s": 2.0},
    "score": {"batch_tracks": 1},
    "extract": _EVIDENCE,
    "remix": {"remixes_per_segment": 2},
    "train": {
        "channels": 2, "depth": 2, "steps": 6, "batch_size": 2, "crop_s": 1.0, "weak_share": 0.5,
        "validate_every": 3, "checkpoint_every": 2, "validation_crops": 1,
    },
    "evaluate": {},
}  # fmt: skip
"""A configuration in which every stage has several parts to write."""


def write_music(root: Path) -> None:
    """A labelled set, unlabelled music with files that are no use among it, and a configuration."""
    number = 0
    for split, count in SPLITS.items():
        for _ in range(count):
            number += 1
            for source, audio in song(number).items():
                _write(root / f"labelled/{split}/Song {number}/{source}.wav", audio)
    for index in range(NUM_TRACKS):
        mixture = np.sum(list(song(100 + index).values()), axis=0)
        _write(root / f"unlabelled/{index}.wav", mixture)
    folder = root / "unlabelled"
    (folder / "broken.mp3").write_bytes(b"not music" * 100)
    (folder / "copy.wav").write_bytes((folder / "0.wav").read_bytes())
    (root / "fields.yaml").write_text(yaml.safe_dump(FIELDS))


def song(seed: int) -> dict[str, NDArray[np.float32]]:
    """Stems ``(T,)`` of a song in which each source pauses once."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(SONG_S * MUSIC.sample_rate)) / MUSIC.sample_rate
    tones = {"drums": 0.0, "bass": rng.uniform(50, 90), "other": rng.uniform(300, 600),
             "vocals": rng.uniform(900, 1500)}  # fmt: skip
    stems = {}
    for source, hz in tones.items():
        start = rng.uniform(0, SONG_S - 3.0)
        sounds = (time_s < start) | (time_s > start + 2.5)
        wave = np.sin(2 * np.pi * hz * time_s) if hz else rng.standard_normal(len(time_s))
        hiss = 0.001 * rng.standard_normal(len(time_s))
        stems[source] = ((0.15 * wave + hiss) * sounds).astype(np.float32)
    return stems


def _write(path: Path, audio: NDArray[np.floating]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, MUSIC.sample_rate)


STAGES = (
    "ingest labelled", "ingest music", "fit-detector", "score", "extract", "remix", "train",
    "evaluate",
)  # fmt: skip
"""The chain, one command after the other."""


def fields(stage: str, root: Path) -> tuple[str, dict[str, Any]]:
    """The stage of a command line, and what a run of its deployment is given for the same."""
    name, music = _stage(stage, root)
    return name, {"workers": FIELDS["workers"], **FIELDS[name.replace("-", "_")], **music}


def command(stage: str, root: Path, workspace: str, corpus: str = CORPUS) -> list[str]:
    """The command line of a stage."""
    name, music = _stage(stage, root, corpus)
    words = [name, "--workspace", workspace, "--config", str(root / "fields.yaml")]
    return [*words, *(word for each in music.items() for word in option_words(*each))]


def _stage(stage: str, root: Path, corpus: str = CORPUS) -> tuple[str, dict[str, Any]]:
    """The name of a stage, and what it ingests, if it does."""
    name, _, what = stage.partition(" ")
    if what == LABELLED:
        return name, {"source": str(root / "labelled"), "corpus": LABELLED, "labelled": True}
    return name, {"source": str(root / "unlabelled"), "corpus": corpus} if what else {}
