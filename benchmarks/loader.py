"""Random crops a second: ``python -m benchmarks.loader [--crop-s 10] [--recipes 10000000]``.

Songs of four stems of noise are written as 16-bit WAV; silentmix, official demucs' ``Wavset`` and
open-unmix's dataset of folders then read crops of all four from the same files, turn about, in one
process each on one thread, after all files were read once. Ours are examples as training hears
them: augmented, with a mixture and masks, every second one of stems from songs of their own. The
others' are the crops alone (demucs augments later, in batches, and open-unmix's augmentations are
off). Beside it, examples of remixes, which read a track and the stems that are added; and labelled
ones of which one in five changes tempo and pitch, as official demucs' do, or goes through a codec.

With ``--recipes``, so many are written, and a process of its own tells how long training takes to
draw the first, what it then costs to draw one, and the memory it takes on top of the libraries.

The last line is JSON: ``ratio`` is our crops a second over those of the faster peer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.loading.peers import Dataset, folders, give_torchaudio_its_backend, wavset
from demucs_core.stem_tracks import StemTrack
from demucs_core.training.lossy_codec import LossyCodec
from demucs_core.training.recipes import AddedStem, Recipe, RecipeList
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.stretching import Stretching
from storage.decoding.canonical import wav_header
from storage.music_format import MusicFormat
from storage.reading import CropReader
from storage.tables.manifests import Partition
from storage.workspace import Workspace

SOURCES = MusicFormat().sources
SAMPLE_RATE = MusicFormat().sample_rate
SONGS = "audio/train"
SHARE = 0.2
REMIXES = Partition("remixes", "music", "f0123456789ab")


def _write_songs(workspace: Workspace, count: int, seconds: float) -> list[StemTrack]:
    rng = np.random.default_rng(0)
    length = round(seconds * SAMPLE_RATE)
    tracks = []
    for song in range(count):
        paths = tuple(f"{SONGS}/{song:02d}/{source}.wav" for source in SOURCES)
        for path in paths:
            pcm = rng.integers(-(2**13), 2**13, (length, 2), dtype="<i2")
            content = wav_header(length, SAMPLE_RATE, 2) + pcm.tobytes()
            file = Path(workspace.resolve(path))  # canonical, but need not outlive a crash
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        tracks.append(StemTrack(track_id=f"{song}", num_samples=length, paths=paths))
    return tracks


def _recipes(tracks: Sequence[StemTrack]) -> list[Recipe]:
    """Each song's drums as a track without bass, and the next one's bass to add to it."""
    return [
        Recipe(
            remix_id=track.track_id,
            track_path=track.paths[0],
            track_num_samples=track.num_samples,
            segment_start_sample=0,
            segment_stop_sample=track.num_samples,
            silent=(1,),
            added=(
                AddedStem(
                    source=1,
                    path=other.paths[1],
                    num_samples=other.num_samples,
                    start_sample=0,
                    excerpt_samples=other.num_samples,
                    gain_db=-3.0,
                ),
            ),
        )
        for track, other in zip(tracks, [*tracks[1:], tracks[0]], strict=True)
    ]


def _stream(
    workspace: Workspace,
    tracks: list[StemTrack],
    crop_s: float,
    *,
    weak: float = 0.0,
    stretched: float = 0.0,
    coded: float = 0.0,
) -> ExampleStream:
    return ExampleStream(
        StreamConfig(
            crop_samples=round(crop_s * SAMPLE_RATE),
            batch_size=1,
            weak_share=weak,
            stretching=Stretching(probability=stretched, sample_rate=SAMPLE_RATE),
            lossy_codec=LossyCodec(probability=coded, sample_rate=SAMPLE_RATE),
        ),
        tracks=tracks,
        remixes=RecipeList(_recipes(tracks), len(SOURCES)),
        read=CropReader(workspace.location),
        num_sources=len(SOURCES),
    )


def _by_index(dataset: Dataset, rng: np.random.Generator) -> Callable[[], object]:
    return lambda: dataset[int(rng.integers(len(dataset)))]


def _rate(draw: Callable[[], object], seconds: float) -> float:
    """Draws a second."""
    begun, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - begun) < seconds:
        draw()
        count += 1
    return count / taken


def _crops_a_second(args: argparse.Namespace) -> dict[str, float]:
    """The median over the rounds, by name."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(name, create=True)
        tracks = _write_songs(workspace, args.songs, args.song_s)
        root, sources = Path(workspace.resolve(SONGS)), list(SOURCES)
        rng = np.random.default_rng(1)
        give_torchaudio_its_backend()
        indices = iter(range(10**9))
        labelled = _stream(workspace, tracks, args.crop_s)
        remixed = _stream(workspace, tracks, args.crop_s, weak=1.0)
        stretched = _stream(workspace, tracks, args.crop_s, stretched=SHARE)
        coded = _stream(workspace, tracks, args.crop_s, coded=SHARE)
        draws: dict[str, Callable[[], object]] = {
            "silentmix": lambda: labelled[next(indices)],
            "demucs": _by_index(wavset(root, sources, args.crop_s), rng),
            "open_unmix": _by_index(folders(root, sources, args.crop_s), rng),
            "silentmix_remixes": lambda: remixed[next(indices)],
            "silentmix_stretched": lambda: stretched[next(indices)],
            "silentmix_coded": lambda: coded[next(indices)],
        }
        for draw in draws.values():
            draw()
        rates: dict[str, list[float]] = {name: [] for name in draws}
        for _ in range(args.rounds):
            for name, draw in draws.items():
                rates[name].append(_rate(draw, args.round_s))
    return {name: float(np.median(found)) for name, found in rates.items()}


def _measure_recipes(root: Path, count: int) -> dict[str, float]:
    """Start, draw and memory of so many recipes, in a process that does nothing else."""
    from benchmarks.loading.recipes import write_recipes

    write_recipes(Workspace(str(root / "workspace"), create=True), REMIXES, count)
    found: dict[str, float] = {}
    for name in ("first", "again"):
        program = [sys.executable, "-m", "benchmarks.loading.drawing", str(root)]
        told = subprocess.run(program, check=True, capture_output=True, text=True).stdout
        found |= {f"{name}_{key}": value for key, value in json.loads(told).items()}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="random crops a second, beside two peers")
    parser.add_argument("--crop-s", type=float, default=10)
    parser.add_argument("--songs", type=int, default=8)
    parser.add_argument("--song-s", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--round-s", type=float, default=2, help="of each, a round")
    parser.add_argument("--recipes", type=int, default=0, help="to draw from; 0: not measured")
    args = parser.parse_args(arguments)
    recipes: dict[str, float] = {}
    if args.recipes:
        with tempfile.TemporaryDirectory() as name:
            os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
            recipes = _measure_recipes(Path(name), args.recipes)
        print(f"{args.recipes} recipes: " + ", ".join(f"{k} {v:g}" for k, v in recipes.items()))
    rates = _crops_a_second(args)
    for name, rate in rates.items():
        print(f"{name}: {rate:.1f} crops of {args.crop_s:g} s a second")
    ratio = rates["silentmix"] / max(rates["demucs"], rates["open_unmix"])
    rounded = {name: round(rate, 1) for name, rate in rates.items()}
    result = {"name": "loader", "ratio": round(ratio, 2), "crop_s": args.crop_s, **rounded}
    print(json.dumps({**result, **recipes}))


if __name__ == "__main__":
    main()
