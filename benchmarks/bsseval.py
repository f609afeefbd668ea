"""Compare BSSEval v4 with museval: ``python -m benchmarks.bsseval [--seconds 240] [--codec mp3]``.

Both score the same synthetic song (four stereo sources with silent stretches, estimates with
leakage and noise) in one run on the same cores, each in a process of its own, so that the peaks of
memory can be told apart. The last line is JSON.

Stems that people have were often encoded once, and a codec empties the band above its cutoff,
which is what is hard about these equations. So the sources are encoded and decoded, and rounded to
16 bits, as the workspace keeps them. With ``--bits 32`` they stay what the decoder gave; museval's
ISR, SIR and SAR are then of its own rounding, and ``rounding_db`` says so. With ``--codec none``
they carry tape hiss instead.
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

from benchmarks.scoring.lossy import CODECS, through_codec
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
    cpu_seconds: float
    rounding_db: float
    scores: FloatArray  # (4, S, W)


def synthesise(seconds: float, hiss_rms: float, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Make references ``(S, C, T)`` beat by beat: bursts, tones, rests."""
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
        references += hiss_rms * rng.standard_normal(references.shape)
        yield references


def separated(references: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Make estimates ``(S, C, T)``: with leakage, artifacts that follow the level, and noise."""
    mixture = references.sum(0)
    estimates: FloatArray = 0.95 * references + 0.05 * mixture
    estimates += 0.05 * np.abs(mixture) * rng.standard_normal(references.shape)
    estimates += 1e-3 * rng.standard_normal(references.shape)
    return estimates


def write_song(folder: Path, args: argparse.Namespace) -> None:
    """Write references and estimates as float32, ``(T, S, C)``."""
    rng = np.random.default_rng(args.seed)
    hiss_rms = HISS_RMS if args.codec == "none" else 0.0
    beats = [each.astype(np.float32) for each in synthesise(args.seconds, hiss_rms, rng)]
    references = np.concatenate(beats, axis=-1)
    references *= 0.9 / np.abs(references).max()
    for index, stem in enumerate(references):
        if args.codec != "none":
            references[index] = through_codec(stem, args.codec, SAMPLE_RATE)
    if args.bits == 16:
        references[:] = np.round(32768 * references) / 32768
    with (folder / "references").open("wb") as true, (folder / "estimates").open("wb") as made:
        for start in range(0, references.shape[-1], BEAT_SAMPLES):
            beat = references[..., start : start + BEAT_SAMPLES].astype(np.float64)
            for file, audio in ((true, beat), (made, separated(beat, rng))):
                file.write(audio.transpose(2, 0, 1).astype(np.float32).tobytes())


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
    pair: FloatArray = gain * np.stack([mono + width * delayed, mono - width * delayed])
    return pair


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

    begun = time.perf_counter(), time.process_time()
    scores = bss_eval_streamed(
        reader("references"),
        reader("estimates"),
        num_samples=num_samples,
        window_samples=SAMPLE_RATE,
        device=device,
    )
    values = [scores.sdr, scores.isr, scores.sir, scores.sar]
    return _run(begun, values, scores.rounding_db)


def _museval(folder: Path, num_samples: int, device: str) -> Run:  # noqa: ARG001
    from storage.decoding.ffmpeg import put_ffmpeg_on_path

    put_ffmpeg_on_path()
    import museval

    shape = (num_samples, len(SOURCES), NUM_CHANNELS)
    references, estimates = (
        np.fromfile(folder / name, np.float32).reshape(shape).transpose(1, 0, 2).astype(np.float64)
        for name in ("references", "estimates")
    )
    begun = time.perf_counter(), time.process_time()
    scores = museval.evaluate(references, estimates, win=SAMPLE_RATE, hop=SAMPLE_RATE)
    return _run(begun, list(scores), 0.0)


def _run(begun: tuple[float, float], scores: list[FloatArray], rounding_db: float) -> Run:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Run(
        seconds=time.perf_counter() - begun[0],
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
        cpu_seconds=time.process_time() - begun[1],
        rounding_db=rounding_db,
        scores=np.stack(scores),
    )


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
    parser.add_argument("--codec", choices=("none", *CODECS), default="mp3")
    parser.add_argument("--bits", type=int, choices=(16, 32), default=16)
    parser.add_argument(
        "--no-museval", action="store_true", help="only ours: time and memory of a long song"
    )
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_samples = round(args.seconds * SAMPLE_RATE)
        write_song(folder, args)
        runs: list[Run] = []
        for score in (_ours,) if args.no_museval else (_ours, _museval):
            # A process each, one after the other: neither shares cores or memory with the other.
            with spawn.Pool(1) as pool:
                runs.append(pool.apply(score, (folder, num_samples, args.device)))
    print(
        f"{args.seconds:g} s, {len(SOURCES)} sources, {NUM_CHANNELS} channels, seed {args.seed}, "
        f"codec {args.codec}, {args.bits} bits, rounding {runs[0].rounding_db:.1e} dB"
    )
    print(f"{'':10}{'time':>10}{'CPU time':>12}{'x real time':>14}{'peak memory':>14}")
    for label, run in zip(("silentmix", "museval"), runs, strict=False):
        speed = args.seconds / run.seconds
        print(
            f"{label:10}{run.seconds:>8.1f} s{run.cpu_seconds:>10.1f} s{speed:>14.1f}"
            f"{run.peak_mib:>10.0f} MiB"
        )
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
    cpu_ratio = round(theirs.cpu_seconds / ours.cpu_seconds, 2)
    made = {"codec": args.codec, "bits": args.bits, "rounding_db": ours.rounding_db}
    print(
        json.dumps(
            {"name": "bsseval", "ratio": ratio, "cpu_ratio": cpu_ratio, "max_abs_db": worst, **made}
        )
    )


if __name__ == "__main__":
    main()
