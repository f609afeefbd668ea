"""Compare BSSEval v4 with museval: ``python -m benchmarks.bsseval [--seconds 240]``.

Both score the same synthetic song (four stereo sources with silent stretches, estimates with
leakage and noise) in one run on the same cores, each in a process of its own, so that the peaks of
memory can be told apart. The last line is JSON.

The song's sources carry tape hiss. Without any, the band above their highest partial holds
rounding noise alone, the filters there are undetermined, and museval's scores change in the sixth
decimal when its input is merely scaled.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from storage.music_format import MusicFormat

NUM_CHANNELS = MusicFormat().num_channels
SAMPLE_RATE = MusicFormat().sample_rate
SOURCES = MusicFormat().sources

FloatArray = NDArray[np.float64]

METRICS = ("sdr", "isr", "sir", "sar")
BEAT_SAMPLES = SAMPLE_RATE // 2
HISS_RMS = 5e-4


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one implementation did."""

    seconds: float
    peak_mib: float
    scores: FloatArray  # (4, S, W)


def synthesise(seconds: float, rng: np.random.Generator) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Make references and estimates ``(S, C, T)`` beat by beat: bursts, tones, rests, leakage."""
    num_samples = round(seconds * SAMPLE_RATE)
    for beat, start in enumerate(range(0, num_samples, BEAT_SAMPLES)):
        length = min(BEAT_SAMPLES, num_samples - start)
        root = 55 * 2 ** (rng.choice([0, 3, 5, 7, 10]) / 12)
        bar = beat // 4
        # What is played, its gain, its width, and whether the player plays in this bar.
        players = {
            "drums": (_burst(length, rng), 0.5, 0.3, beat % 64 < 60),
            "bass": (_tone(length, root, 6, rng), 0.3, 0.05, bar % 16 != 0),
            "other": (_tone(length, 4 * root, 20, rng), 0.2, 0.8, bar % 24 != 7),
            "vocals": (_tone(length, 8 * root, 12, rng), 0.2, 0.1, bar % 12 > 1),
        }
        references = np.zeros((len(SOURCES), NUM_CHANNELS, length))
        for index, source in enumerate(SOURCES):
            mono, gain, width, plays = players[source]
            if plays:
                references[index] = _stereo(mono, gain, width, rng)
        mixture = references.sum(0)
        estimates = 0.95 * references + 0.05 * mixture
        # What a separator adds: artifacts that follow the mixture's level, and a little noise.
        estimates += 0.05 * np.abs(mixture) * rng.standard_normal(references.shape)
        estimates += 1e-3 * rng.standard_normal(references.shape)
        yield references, estimates


def _burst(length: int, rng: np.random.Generator) -> FloatArray:
    decay = np.exp(-np.arange(length) / rng.uniform(1000, 4000))
    kick = np.sin(2 * np.pi * np.cumsum(50 + 150 * decay**4) / SAMPLE_RATE)
    taps = signal.butter(2, rng.uniform(0.1, 0.8), output="ba")
    noise: FloatArray = signal.lfilter(*taps, rng.standard_normal(length))
    return decay * (kick + 0.5 * noise)


def _tone(length: int, pitch_hz: float, partials: int, rng: np.random.Generator) -> FloatArray:
    time_s = np.arange(length) / SAMPLE_RATE
    vibrato = 0.002 * np.sin(2 * np.pi * 5.5 * time_s)
    tone = np.zeros(length)
    for partial in range(1, partials + 1):
        phase = rng.uniform(0, 2 * np.pi)
        tone += np.sin(2 * np.pi * pitch_hz * partial * (time_s + vibrato / 10) + phase) / partial
    envelope: FloatArray = np.minimum(time_s / 0.01, 1) * np.exp(-time_s / 0.4)
    return envelope * tone


def _stereo(mono: FloatArray, gain: float, width: float, rng: np.random.Generator) -> FloatArray:
    delayed = np.roll(mono, 1 + int(rng.integers(200)))
    pair = gain * np.stack([mono + width * delayed, mono - width * delayed])
    hiss: FloatArray = HISS_RMS * rng.standard_normal(pair.shape)
    return pair + hiss


def _ours(folder: Path, num_samples: int, device: str) -> Run:
    from demucs_core.metrics.bsseval import bss_eval_streamed

    def reader(name: str) -> Callable[[int, int], NDArray[np.float32]]:
        rows = len(SOURCES) * NUM_CHANNELS

        def read(start: int, stop: int) -> NDArray[np.float32]:
            flat = np.fromfile(
                folder / name, np.float32, (stop - start) * rows, offset=start * rows * 4
            )
            return flat.reshape(-1, len(SOURCES), NUM_CHANNELS).transpose(1, 2, 0)

        return read

    begun = time.perf_counter()
    scores = bss_eval_streamed(
        reader("references"),
        reader("estimates"),
        num_samples=num_samples,
        window_samples=SAMPLE_RATE,
        device=device,
    )
    seconds = time.perf_counter() - begun
    return _run(seconds, [scores.sdr, scores.isr, scores.sir, scores.sar])


def _museval(folder: Path, num_samples: int, device: str) -> Run:  # noqa: ARG001
    from storage.ffmpeg import put_ffmpeg_on_path

    put_ffmpeg_on_path()
    import museval

    shape = (num_samples, len(SOURCES), NUM_CHANNELS)
    references, estimates = (
        np.fromfile(folder / name, np.float32).reshape(shape).transpose(1, 0, 2).astype(np.float64)
        for name in ("references", "estimates")
    )
    begun = time.perf_counter()
    scores = museval.evaluate(references, estimates, win=SAMPLE_RATE, hop=SAMPLE_RATE)
    return _run(time.perf_counter() - begun, list(scores))


def _run(seconds: float, scores: list[FloatArray]) -> Run:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return Run(seconds=seconds, peak_mib=peak_mib, scores=np.stack(scores))


def compare(ours: FloatArray, theirs: FloatArray) -> tuple[float, bool]:
    """Give the largest difference of values finite in both, and whether the others agree."""
    finite = np.isfinite(theirs)
    agree = bool(
        np.array_equal(finite, np.isfinite(ours))
        and np.array_equal(ours[~finite], theirs[~finite], equal_nan=True)
    )
    both = finite & np.isfinite(ours)
    return float(np.abs(ours[both] - theirs[both]).max(initial=0)), agree


def main() -> None:
    parser = argparse.ArgumentParser(description="BSSEval v4: ours against museval")
    parser.add_argument("--seconds", type=float, default=240, help="length of the song")
    parser.add_argument("--device", default="cpu", help="where ours runs: cpu or cuda")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-museval", action="store_true", help="only ours: time and memory of a long song"
    )
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_samples = round(args.seconds * SAMPLE_RATE)
        with (folder / "references").open("wb") as true, (folder / "estimates").open("wb") as made:
            for beat in synthesise(args.seconds, np.random.default_rng(args.seed)):
                for file, audio in zip((true, made), beat, strict=True):
                    file.write(audio.transpose(2, 0, 1).astype(np.float32).tobytes())
        runs: list[Run] = []
        for score in (_ours,) if args.no_museval else (_ours, _museval):
            # A process each, one after the other: neither shares cores or memory with the other.
            with spawn.Pool(1) as pool:
                runs.append(pool.apply(score, (folder, num_samples, args.device)))
    print(f"{args.seconds:g} s, {len(SOURCES)} sources, {NUM_CHANNELS} channels, seed {args.seed}")
    print(f"{'':10}{'time':>10}{'x real time':>14}{'peak memory':>14}")
    for label, run in zip(("silentmix", "museval"), runs, strict=False):
        speed = args.seconds / run.seconds
        print(f"{label:10}{run.seconds:>8.1f} s{speed:>14.1f}{run.peak_mib:>10.0f} MiB")
    if args.no_museval:
        only = {"name": "bsseval", "seconds": runs[0].seconds, "peak_mib": runs[0].peak_mib}
        print(json.dumps(only))
        return
    ours, theirs = runs
    for metric, mine, other in zip(METRICS, ours.scores, theirs.scores, strict=True):
        worst, agree = compare(mine, other)
        same = "agree" if agree else "DIFFER"
        finite = int(np.isfinite(other).sum())
        print(
            f"{metric}: {finite} finite of {other.size}, median {np.nanmedian(other):.2f} dB, "
            f"max |difference| {worst:.1e} dB, NaN and infinite places {same}"
        )
    worst, _ = compare(ours.scores, theirs.scores)
    ratio = round(theirs.seconds / ours.seconds, 2)
    print(json.dumps({"name": "bsseval", "ratio": ratio, "max_abs_db": worst}))


if __name__ == "__main__":
    main()
