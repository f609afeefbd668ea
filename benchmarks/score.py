"""Speed of scoring, from files to manifest: ``python -m benchmarks.score [--minutes 128]``.

Tracks of generated songs, joined to four minutes each and made different by their gains, are
written and ingested; then the real stage ``score`` runs on them with its Dask workers and its
Prefect flow run, and the clock is around all of it, the start of the workers included. Weights
are random: they change no time. Beside it the forward pass alone, of our detector and of the
paper's (the encoder of Demucs with 64 channels, BiLSTM, a head a source), on the same audio and
one thread; and both on a GPU, where there is one.

The last line is JSON: ``realtime_factor`` is seconds of music scored in a second by the stage,
``growing_factor`` the same once its workers have started,
``forward_factor`` by the forward pass alone on ``device``, ``forward_ratio`` how many times faster
that is than the paper's architecture.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from demo_corpus.composition import compose
from demo_corpus.palette import ALL
from demo_corpus.rendering import render
from demucs_core.detector.config import SilenceDetector
from demucs_core.detector.registry import (
    DEFAULT_DETECTOR,
    TRAINED,
    build_detector,
    detector_config,
    new_detector_config,
)
from demucs_core.detector.scoring import score_chunks
from storage.music_format import MusicFormat

MUSIC = {**asdict(MusicFormat()), "hop_samples": MusicFormat().hop_samples}
SAMPLE_RATE = MusicFormat().sample_rate

TRACK_S = 240.0
SONG_S = 40.0
PAPER = new_detector_config("demucs-blstm", encoder_channels=64, **MUSIC)
GPU_CHUNKS = 32
DETECTOR = "benchmark"

Audio = NDArray[np.float32]


def _songs(count: int, seed: int) -> Audio:
    """Mixtures of generated songs, one after another: ``(C, T)``."""
    mixtures = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        stems = render(rng, compose(rng, ALL, SONG_S), ALL)
        mixtures.append(stems.sum(axis=0, dtype=np.int16).astype(np.float32) / np.float32(32_768))
    return np.concatenate(mixtures, axis=1)


def _write_tracks(folder: Path, songs: Audio, minutes: float) -> int:
    """Write tracks that begin anywhere in the songs, each at a gain of its own."""
    folder.mkdir()
    length = round(TRACK_S * SAMPLE_RATE)
    count = max(1, round(60 * minutes / TRACK_S))

    def write(index: int) -> None:
        rng = np.random.default_rng([count, index])
        first = int(rng.integers(songs.shape[1]))
        track = np.take(songs, np.arange(first, first + length), axis=1, mode="wrap")
        gain = np.float32(rng.uniform(0.5, 1.0))
        soundfile.write(folder / f"{index:03d}.wav", gain * track.T, SAMPLE_RATE, "PCM_16")

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(write, range(count)))
    return count


def _detectors(architecture: str, device: str) -> list[SilenceDetector]:
    """Ours and the paper's, ready to score."""
    torch.manual_seed(0)  # a process of its own
    configs = (new_detector_config(architecture, **MUSIC), PAPER)
    return [build_detector(config).eval().to(device) for config in configs]


def _forward_factor(detector: SilenceDetector, audio: Audio, device: str, rounds: int) -> float:
    """Seconds of audio that the forward pass, reading and stitching included, does in a second."""

    def work() -> None:
        score_chunks(
            detector,
            lambda start, count: audio[:, start : start + count],
            audio.shape[1],
            batch_size=1 if device == "cpu" else GPU_CHUNKS,
            device=device,
        )

    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return float(audio.shape[1] / SAMPLE_RATE / min(seconds))


def _stage_seconds(root: Path, architecture: str, workers: int, device: str) -> tuple[float, float]:
    """Ingest the tracks, then time the stage, and its work alone."""
    from flows.ingest.flow import ingest
    from flows.ingest.options import IngestParameters
    from flows.inputs import networks
    from flows.score.flow import score
    from flows.score.options import ScoreParameters
    from storage.workspace import Workspace

    location = str(root / "workspace")
    place = {"workspace": location, "workers": workers}
    ingest(IngestParameters.model_validate({**place, "source": str(root / "tracks")}))
    [ours, _] = _detectors(architecture, "cpu")
    networks.store(
        Workspace(location), "detectors", DETECTOR, ours,
        {"detector": detector_config(ours), "held_out": {"corpus": "none", "scores": "none"}},
    )  # fmt: skip
    parameters = ScoreParameters.model_validate({**place, "device": device})
    begun = time.perf_counter()
    result = score(parameters)
    seconds = time.perf_counter() - begun
    assert result.counts["rejected"] == 0
    return seconds, result.counts["scoring_s"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Scoring: the whole stage, and the forward pass")
    parser.add_argument("--minutes", type=float, default=128, help="of music to score")
    parser.add_argument("--forward-s", type=float, default=60, help="of music for a forward pass")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one a core")
    parser.add_argument("--architecture", choices=TRAINED, default=DEFAULT_DETECTOR)
    parser.add_argument("--rounds", type=int, default=3, help="of the forward pass")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)

    from flows.server.process import WorkspaceServer, configure_prefect

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        songs = _songs(6, args.seed)
        count = _write_tracks(root / "tracks", songs, args.minutes)
        if configure_prefect(str(root / "workspace"), os.environ):
            WorkspaceServer(os.environ).wait()
        seconds, scoring_s = _stage_seconds(root, args.architecture, args.workers, device)
    factor, growing = (count * TRACK_S / took_s for took_s in (seconds, scoring_s))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    piece = songs[:, : round(args.forward_s * SAMPLE_RATE)]
    print(f"{count} tracks of {TRACK_S:g} s, {args.workers or os.cpu_count()} workers, {device}")
    print(f"stage, from files to manifest: {seconds:.1f} s, {factor:.0f} x real time")
    print(f"once its workers are there: {scoring_s:.1f} s, {growing:.0f} x real time")
    forward = {}
    for kind in dict.fromkeys(("cpu", device)):
        torch.set_num_threads(1 if kind == "cpu" else threads)
        # a GPU is not full with a minute
        audio = piece if kind == "cpu" else np.tile(songs, 60)
        ours, paper = (
            _forward_factor(detector, audio, kind, args.rounds)
            for detector in _detectors(args.architecture, kind)
        )
        forward[kind] = (ours, ours / paper)
        print(f"forward pass, {kind}: {ours:.0f} x real time; the paper's way {paper:.1f}")
    result = {
        "name": "score",
        "realtime_factor": round(factor, 1),
        "growing_factor": round(growing, 1),
        "device": device,
        "forward_factor": round(forward[device][0], 1),
        "forward_ratio": round(forward[device][1], 1),
        "workers": args.workers or os.cpu_count(),
        "architecture": args.architecture,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
