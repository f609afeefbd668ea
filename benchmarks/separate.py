"""Compare separation with PyPI's demucs: ``python -m benchmarks.separate [--seconds 60]``.

The same synthetic mixture, the same architecture, the same weights, the same segments and as many
threads, in turns, each time in a process of its own, so that the peaks of memory can be told apart;
of each side's rounds, the fastest and the smallest count. Weights are mapped from one file on both
sides. The last line is JSON: ``ratio`` is their time over ours, ``memory_ratio`` our peak over
theirs, ``max_abs`` the largest difference of the outputs, ``realtime_factor`` seconds of audio that
we separate in a second.

One thread unless told otherwise: several wait for each other, so that on a machine with other work
both sides measure how long that work holds a core.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.bsseval import HISS_RMS, synthesise
from benchmarks.peers.official_demucs import paper_demucs
from storage.music_format import MusicFormat

NUM_CHANNELS = MusicFormat().num_channels
SAMPLE_RATE = MusicFormat().sample_rate

MIXTURE, OURS, THEIRS, WEIGHTS = "mixture", "silentmix", "demucs", "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What both sides do."""

    folder: Path
    num_samples: int
    channels: int
    depth: int
    segment_s: float
    overlap: float
    threads: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one side needed."""

    seconds: float
    peak_mib: float


def _official(task: Task) -> Any:
    model = paper_demucs(
        channels=task.channels,
        depth=task.depth,
        samplerate=SAMPLE_RATE,
        segment=task.segment_s,
    )
    return model.eval()


def _prepare(task: Task, seed: int) -> None:
    """Write the mixture, and the weights under the official names."""
    torch.manual_seed(seed)  # a process of its own
    save_file(_official(task).state_dict(), task.folder / WEIGHTS)
    seconds = task.num_samples / SAMPLE_RATE
    with (task.folder / MIXTURE).open("wb") as file:
        for references in synthesise(seconds, HISS_RMS, np.random.default_rng(seed)):
            file.write(references.sum(0).T.astype(np.float32).tobytes())


def _ours(task: Task) -> Run:
    from demucs_core.separators.demucs import Demucs, DemucsConfig, from_official_state
    from demucs_core.separators.separation import separate_stream

    torch.set_num_threads(task.threads)
    with torch.device("meta"):
        model = Demucs(
            DemucsConfig(
                sources=MusicFormat().sources,
                sample_rate=SAMPLE_RATE,
                num_channels=NUM_CHANNELS,
                channels=task.channels,
                depth=task.depth,
            )
        )
    weights = from_official_state(load_file(task.folder / WEIGHTS))
    model.load_state_dict(weights, assign=True)
    mixture = np.memmap(task.folder / MIXTURE, np.float32, "r").reshape(-1, NUM_CHANNELS)
    begun = time.perf_counter()
    blocks = separate_stream(
        model,
        lambda start, num: mixture[start : start + num].T,
        task.num_samples,
        segment_samples=int(task.segment_s * SAMPLE_RATE),
        overlap=task.overlap,
        max_shift_samples=0,
    )
    with (task.folder / OURS).open("wb") as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block.transpose(2, 0, 1)).data)
    return _run(begun)


def _theirs(task: Task) -> Run:
    from demucs.apply import apply_model

    torch.set_num_threads(task.threads)
    with torch.device("meta"):
        model = _official(task)
    # its own load_state_dict, which renames older weights, copies them
    torch.nn.Module.load_state_dict(model, load_file(task.folder / WEIGHTS), assign=True)
    interleaved = np.fromfile(task.folder / MIXTURE, np.float32).reshape(-1, NUM_CHANNELS)
    mixture = torch.from_numpy(interleaved.T)[None]
    begun = time.perf_counter()
    estimates = apply_model(model, mixture, shifts=0, overlap=task.overlap)[0]
    run = _run(begun)
    # not part of what is compared
    np.ascontiguousarray(estimates.numpy().transpose(2, 0, 1)).tofile(task.folder / THEIRS)
    return run


def _run(begun: float) -> Run:
    seconds = time.perf_counter() - begun
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return Run(seconds=seconds, peak_mib=peak_mib)


def main() -> None:
    parser = argparse.ArgumentParser(description="Separation: ours against PyPI's demucs, on a CPU")
    parser.add_argument("--seconds", type=float, default=60, help="length of the mixture")
    parser.add_argument("--channels", type=int, default=64, help="of the model")
    parser.add_argument("--depth", type=int, default=6, help="of the model")
    parser.add_argument("--segment", type=float, default=10, help="length of a piece, in seconds")
    parser.add_argument("--overlap", type=float, default=0.25, help="of the pieces")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        task = Task(
            folder=Path(name),
            num_samples=round(args.seconds * SAMPLE_RATE),
            channels=args.channels,
            depth=args.depth,
            segment_s=args.segment,
            overlap=args.overlap,
            threads=args.threads,
        )
        with spawn.Pool(1) as pool:
            pool.apply(_prepare, (task, args.seed))
        rounds: list[list[Run]] = []
        for _ in range(args.rounds):
            rounds.append([])
            for side in (_ours, _theirs):
                with spawn.Pool(1) as pool:
                    rounds[-1].append(pool.apply(side, (task,)))
        ours, theirs = (
            Run(
                seconds=min(run.seconds for run in runs), peak_mib=min(run.peak_mib for run in runs)
            )
            for runs in zip(*rounds, strict=True)
        )
        estimates, expected = (
            np.fromfile(task.folder / side, np.float32) for side in (OURS, THEIRS)
        )
        max_abs = float(np.abs(estimates - expected).max())
        peak = float(np.abs(expected).max())
    print(
        f"{args.seconds:g} s in pieces of {args.segment:g} s, overlap {args.overlap:g}; "
        f"{args.channels} channels, depth {args.depth}; {args.threads} threads; "
        f"{args.rounds} rounds"
    )
    print(f"{'':10}{'time':>10}{'x real time':>14}{'peak memory':>16}")
    for label, run in zip((OURS, THEIRS), (ours, theirs), strict=True):
        speed = args.seconds / run.seconds
        print(f"{label:10}{run.seconds:>8.1f} s{speed:>14.2f}{run.peak_mib:>12.0f} MiB")
    print(f"largest difference {max_abs:.1e}, at a peak of {peak:.2g}")
    result = {
        "name": "separate",
        "ratio": round(theirs.seconds / ours.seconds, 2),
        "memory_ratio": round(ours.peak_mib / theirs.peak_mib, 3),
        "max_abs": max_abs,
        "realtime_factor": round(args.seconds / ours.seconds, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
