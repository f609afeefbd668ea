"""Compare a training step with PyPI's demucs: ``python -m benchmarks.train_step [--channels 16]``.

The same architecture, weights and batch, the same L1 loss, forward, backward and a step of Adam, in
turns in one process; of each side's rounds, the fastest counts. Their side is what their trainer
runs, float32 and ``torch.optim.Adam`` as they make it; ours is what ``Trainer`` runs without
clipping, once in float32 and once with ``--precision bfloat16``, which their trainer has not.

A further side is our model's forward, L1, backward and fused Adam alone, in float32:
``overhead_share`` is what our step takes beside them (gradient norm, checks, figures). Then the
trainer itself runs on files: ``trainer_share`` is what it takes around its steps,
``loading_share`` how long it waits for audio.

The last line is JSON: ``ratio`` is their time over ours, both in float32, ``bfloat16_ratio`` theirs
over ours in bfloat16; ``max_abs`` the largest difference of a weight after one step of both, in the
rounding of which the first step of Adam magnifies what is left of a gradient near zero;
``peak_share`` what our step computes a second, in float32, over what a product of two large
matrices does (on a GPU in TF32, as convolutions there); on a GPU, ``busy_share`` is the share of
our time that it computes.

On a CPU ``ratio`` is about 1, and was not brought to more. The default step takes 32 GFLOP (21 in
convolutions, 11 in the LSTM), and both sides get through 55 a second and core, where a product of
two matrices of 2048 x 2048 gets 86 (EPYC with AVX-512, torch 2.13, oneDNN): 1.3 times would be 72,
84 % of that, with nothing left for all that is no product. Bfloat16 doubles what the core can do.
Tried, in CPU seconds of one thread, forward and backward, the least of several:

- Outermost transposed convolution 0.036; as a matrix product and overlap-add 0.106; the same with
  channels last 0.062; as a convolution of kernel 2 and a shuffle 0.036; without oneDNN 0.053.
- Outermost convolution of kernel 3: 0.033; unfolded and multiplied 0.090, with channels last 0.053;
  as three products with channels last 0.063; without oneDNN 0.051.
- Strided convolutions: as a convolution of kernel 2 on samples folded into channels, as two
  products with channels last, and without oneDNN: each slower, or the same.
- 1x1 convolutions: a product with channels last takes 0.017 where the convolution takes 0.024, but
  the GLU then takes 0.027 instead of 0.009, and the layout has to be changed on the way.
- Whole step: 0.58 on both sides; with ``torch.compile`` (inductor) 0.59, after minutes of
  compiling; with bfloat16 0.38, and 0.40 compiled; fused Adam saves less than 0.01.
- Huge pages, and memory that is not given back (``THP_MEM_ALLOC_ENABLE=1 MALLOC_MMAP_MAX_=0
  MALLOC_TRIM_THRESHOLD_=20000000000`` before Python starts): 0.53, for either side.

On an H100 (torch 2.11, ``--channels 48 --depth 6 --batch-size 16 --crop-s 8``, the paper's model)
``ratio`` was 1.00 and ``bfloat16_ratio`` 1.22: both sides' float32 convolutions run in TF32 there,
at a tenth of what its matrix units can do. A step in milliseconds, the least of six: float32 60,
with cuDNN's benchmark mode 59, compiled 58; bfloat16 49, with the benchmark mode 52, compiled 46;
float16 43. The GPU computed in 96 to 100 % of that time, so what is left is in the kernels: a
seventh of bfloat16's step is one of cuDNN's old ones (the gradient of the input of three
convolutions), and another seventh turns layouts around for convolutions that want channels last.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.nn import functional as F

from benchmarks.peers.official_demucs import paper_demucs
from benchmarks.training.arithmetic import most_flop_s, step_flop
from demucs_core.separators.demucs import Demucs, DemucsConfig, from_official_state
from demucs_core.stem_tracks import StemTrack
from demucs_core.training.examples import Example
from demucs_core.training.optimization import Optimization
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.trainer import StepReport, Trainer
from demucs_core.training.training_config import Execution, Precision, TrainingConfig
from flows.running.devices import num_loaders
from storage.music_format import MusicFormat
from storage.reading import CropReader
from storage.workspace import Workspace

MUSIC = MusicFormat()
SAMPLE_RATE, NUM_CHANNELS, SOURCES = MUSIC.sample_rate, MUSIC.num_channels, MUSIC.sources
LEARNING_RATE = 3e-4
SONG_S = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--crop-s", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own number")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    result: dict[str, Any] = {"name": "train_step", "device": _device_name(asked.device)}
    result |= _compare(asked)
    result |= _trainer(asked)
    print(json.dumps(result))


def _compare(asked: argparse.Namespace) -> dict[str, Any]:
    """Both sides' steps, in turns."""
    theirs = paper_demucs(
        audio_channels=NUM_CHANNELS, channels=asked.channels, depth=asked.depth, rescale=0.1
    ).to(asked.device)
    ours = _own(asked)
    ours.load_state_dict(from_official_state(theirs.state_dict()))
    ours.to(asked.device)
    batch = _batch(asked)
    optimization = _optimization(ours, asked, "float32")
    halved = _optimization(_own(asked).to(asked.device), asked, "bfloat16")
    adam = torch.optim.Adam(theirs.parameters(), lr=LEARNING_RATE)

    def their_step() -> None:
        adam.zero_grad()
        torch.autograd.backward(F.l1_loss(theirs(batch.mixture), batch.targets))
        adam.step()

    def our_step() -> None:
        optimization.step(batch, LEARNING_RATE, 0)

    def halved_step() -> None:
        halved.step(batch, LEARNING_RATE, 0)

    bare = _own(asked).to(asked.device)
    fused = torch.optim.Adam(bare.parameters(), lr=LEARNING_RATE, fused=True)

    def bare_step() -> None:
        fused.zero_grad()
        torch.autograd.backward(F.l1_loss(bare(batch.mixture), batch.targets))
        fused.step()

    sides = (
        ("demucs", their_step),
        ("silentmix", our_step),
        ("bfloat16", halved_step),
        ("bare", bare_step),
    )
    their_step()
    our_step()
    weights = ours.state_dict()
    after = from_official_state(theirs.state_dict())
    max_abs = max(float((value - weights[name]).abs().max()) for name, value in after.items())
    halved_step()
    bare_step()
    seconds: dict[str, list[float]] = {name: [] for name, _ in sides}
    for number in range(asked.rounds):
        for name, step in sides:
            seconds[name].append(_timed(step, asked.device))
        print(f"round {number + 1}: " + ", ".join(f"{k} {v[-1]:.3f} s" for k, v in seconds.items()))
    found: dict[str, Any] = {
        "ratio": round(min(seconds["demucs"]) / min(seconds["silentmix"]), 3),
        "median_ratio": round(
            statistics.median(seconds["demucs"]) / statistics.median(seconds["silentmix"]), 3
        ),
        "bfloat16_ratio": round(min(seconds["demucs"]) / min(seconds["bfloat16"]), 3),
        "overhead_share": round(1 - min(seconds["bare"]) / min(seconds["silentmix"]), 4),
        "step_s": round(min(seconds["silentmix"]), 4),
        "max_abs": max_abs,
    }
    flop = step_flop(_config(asked), asked.batch_size, batch.mixture.shape[-1])
    most, took_s = most_flop_s(asked.device), min(seconds["silentmix"])
    print(f"{flop / 1e9:.1f} GFLOP a step, {flop / took_s / 1e9:.0f} a second of {most / 1e9:.0f}")
    found["peak_share"] = round(flop / took_s / most, 3)
    if asked.device != "cpu":
        found["busy_share"] = _busy_share(our_step)
    return found


def _optimization(model: Demucs, asked: argparse.Namespace, precision: Precision) -> Optimization:
    return Optimization(
        model,
        TrainingConfig(learning_rate=LEARNING_RATE, precision=precision),
        Execution(device=asked.device, compile=asked.compile),
    )


def _trainer(asked: argparse.Namespace) -> dict[str, Any]:
    """The trainer on files: shares of its time that are not the step's own."""
    with tempfile.TemporaryDirectory() as folder:
        examples = ExampleStream(
            StreamConfig(
                crop_samples=round(asked.crop_s * SAMPLE_RATE),
                batch_size=asked.batch_size,
                weak_share=0,
            ),
            tracks=_songs(Path(Workspace(folder, create=True).root)),
            read=CropReader(folder),
            num_sources=len(SOURCES),
        )
        steps = asked.rounds + 1
        config = TrainingConfig(steps=steps, validate_every=steps + 1, checkpoint_every=steps)
        execution = Execution(
            device=asked.device, compile=asked.compile, num_workers=num_loaders(asked.device) or 1
        )
        trainer = Trainer(_own(asked), config, examples, [], execution=execution)
        own: list[float] = []
        step = trainer.optimization.step

        def timed(*given: Any) -> Any:
            began = time.perf_counter()
            figures = step(*given)  # reads the loss, so all before it is done
            own.append(time.perf_counter() - began)
            return figures

        trainer.optimization.step = timed  # type: ignore[method-assign, assignment]
        reports: list[StepReport] = []
        trainer.run(on_step=reports.append)
    kept = reports[1:]  # the first one waits for the process that reads
    total = sum(report.step_s for report in kept)
    waited = sum(report.wait_s for report in kept)
    return {
        "trainer_share": round((total - waited - sum(own[1:])) / total, 4),
        "loading_share": round(waited / total, 4),
    }


def _songs(folder: Path) -> list[StemTrack]:
    rng = np.random.default_rng(0)
    num_samples = SONG_S * SAMPLE_RATE
    paths = []
    for source in SOURCES:
        audio = rng.uniform(-0.1, 0.1, (num_samples, NUM_CHANNELS)).astype(np.float32)
        soundfile.write(folder / f"{source}.wav", audio, SAMPLE_RATE, subtype="PCM_16")
        paths.append(f"{source}.wav")
    return [StemTrack(track_id="noise", num_samples=num_samples, paths=tuple(paths))]


def _timed(step: Callable[[], None], device: str) -> float:
    began = time.perf_counter()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _busy_share(step: Callable[[], None]) -> float:
    """Of a step's time, the share in which the GPU computes."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    for _ in range(2):  # the first profile starts the profiler, which takes as long as a step
        with torch.profiler.profile(activities=activities) as profiler:
            began = time.perf_counter()
            step()
            torch.cuda.synchronize()
            took = time.perf_counter() - began
    busy_s: float = sum(each.self_device_time_total for each in profiler.key_averages()) / 1e6
    return round(busy_s / took, 3)


def _batch(asked: argparse.Namespace) -> Example:
    size, num_samples = asked.batch_size, round(asked.crop_s * SAMPLE_RATE)
    generator = torch.Generator().manual_seed(0)
    targets = 0.1 * torch.randn(size, len(SOURCES), NUM_CHANNELS, num_samples, generator=generator)
    batch = Example(
        targets.sum(dim=1),
        targets,
        torch.eye(len(SOURCES)).expand(size, -1, -1),
        torch.ones(size, len(SOURCES), num_samples, dtype=torch.bool),
        torch.ones(size),
    )
    return Example(*(value.to(asked.device) for value in batch))


def _own(asked: argparse.Namespace) -> Demucs:
    return Demucs(_config(asked))


def _config(asked: argparse.Namespace) -> DemucsConfig:
    return DemucsConfig(
        sources=SOURCES,
        sample_rate=SAMPLE_RATE,
        num_channels=NUM_CHANNELS,
        channels=asked.channels,
        depth=asked.depth,
    )


def _device_name(device: str) -> str:
    if device == "cpu":
        return f"cpu, {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device)


if __name__ == "__main__":
    main()
