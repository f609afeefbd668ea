"""Make ``0.1.0.tar.xz``: a workspace as silentmix 0.1.0 left it, and the music it was made from.

Made once, by commit 1e82aeb, with ``PYTHONPATH=CHECKOUT python tests/workspaces/make_0_1_0.py`` in
a checkout of it; with later code it need not run, and the archive is not to be made anew. What it
holds:

- ``workspace/``: every stage from ingest to evaluate, with rows in all tables of 0.1.0, the fitted
  detector, a model with and one without remixes, and of the reports what other stages read;
- ``labelled/`` and ``music/``: the source music, as :func:`write_corpus` composes it;
- ``config.yaml``: what ``silentmix run --config`` was given.

The songs repeat themselves sample by sample, so that 40 MB of audio become some kilobytes, and the
detector is a narrow one for the same reason.
"""

from __future__ import annotations

import csv
import importlib
import lzma
import shutil
import sys
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

RATE = 44_100
BEAT = 11_025
"""Samples in a beat: 7 times 1575, or 3² · 5² · 7, which every period below divides."""
BEATS, PAUSE_BEATS = 18, 8
SOURCES = ("drums", "bass", "other", "vocals")
SPLITS = {"train": 3, "valid": 2, "test": 1}
MUSIC = ("a b.wav", "live/é.flac", "c.wav")

ROOT = Path("/tmp/silentmix-0.1.0")
ARCHIVE = Path(__file__).with_name("0.1.0.tar.xz")
SETTINGS: dict[str, Any] = {
    "workers": 1,
    "fit_detector": {"steps": 120, "batch_size": 4, "crop_s": 3.0, "learning_rate": 0.01},
    "extract": {
        "min_duration_s": 0.5,
        "target_precision": 0.5,
        "min_songs": 2,
        "allow_insufficient_evidence": True,
    },
    "remix": {"remixes_per_segment": 2},
    "train": {
        "channels": 4,
        "depth": 2,
        "steps": 6,
        "batch_size": 2,
        "crop_s": 1.0,
        "weak_share": 0.5,
        "validate_every": 3,
        "validation_crops": 1,
    },
}


def play(seed: int) -> dict[str, np.ndarray]:
    """Stems ``(T, 2)``, 16 bit, of a song in which each source pauses once for two seconds."""
    rng = np.random.default_rng(seed)
    time = np.arange(BEAT)
    burst = np.exp(-time / 250) * rng.uniform(-1, 1, BEAT) * (time < 600)
    chord = rng.choice([35, 45, 63, 75, 105], 3, replace=False)
    voice = rng.choice([175, 225])
    waves = {
        "drums": burst,
        "bass": np.where(time % rng.choice([315, 525]) < 150, 0.5, -0.5),
        "other": sum(np.sin(2 * np.pi * (time % period) / period) for period in chord) / 3,
        "vocals": sum(
            np.sin(2 * np.pi * (time * k % voice) / voice) / (2 * k) for k in (1, 2, 3, 4)
        ),
    }
    stems = {}
    for source in SOURCES:
        sounds = np.ones(BEATS)
        start = rng.integers(0, BEATS - PAUSE_BEATS + 1)
        sounds[start : start + PAUSE_BEATS] = 0
        beat = np.rint(32_767 * 0.2 * rng.uniform(0.6, 1) * np.asarray(waves[source]))
        mono = np.outer(sounds, beat).ravel().astype(np.int16)
        stems[source] = np.stack([mono, mono], axis=1)
    return stems


def mix(stems: dict[str, np.ndarray]) -> np.ndarray:
    """The sum of stems, 16 bit as they are."""
    return np.asarray(np.sum(list(stems.values()), axis=0, dtype=np.int16))


def write(path: Path, audio: np.ndarray) -> None:
    """Write 16-bit audio, in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, RATE, subtype="PCM_16")


def write_corpus(root: Path) -> None:
    """Write ``labelled/`` and ``music/``, in which some files can't be used."""
    number = 0
    for split, count in SPLITS.items():
        for _ in range(count):
            number += 1
            folder = root / "labelled" / split / f"Song {number}"
            for source, audio in (stems := play(number)).items():
                write(folder / f"{source}.wav", audio)
            write(folder / "mixture.wav", mix(stems))
    folder = root / "music"
    for index, name in enumerate(MUSIC):
        write(folder / name, mix(play(100 + index)))
    (folder / "broken.mp3").write_bytes(b"not music" * 100)
    shutil.copy(folder / MUSIC[0], folder / "copy.wav")
    shutil.copy(root / f"labelled/test/Song {number}/mixture.wav", folder / "leak.wav")
    write(folder / "short.wav", np.full((RATE, 2), 1000, np.int16))
    write(folder / "silent.wav", np.zeros((4 * RATE, 2), np.int16))


def main() -> None:
    """Write the corpus, run every stage, audit, and pack."""
    fit_detector: Any = importlib.import_module("flows.fit_detector")

    # the usual one has 1.5 MB of weights, which do not compress
    fit_detector.DetectorConfig = partial(
        fit_detector.DetectorConfig,
        hidden_channels=16, conv_channels=(4, 8, 8), recurrent_layers=1,
    )  # fmt: skip
    ROOT.mkdir()
    write_corpus(ROOT)
    settings = {
        **SETTINGS,
        "workspace": str(ROOT / "workspace"),
        "labelled": str(ROOT / "labelled"),
        "unlabelled": str(ROOT / "music"),
    }
    (ROOT / "config.yaml").write_text(yaml.safe_dump(settings))
    run("run", "--config", str(ROOT / "config.yaml"), "--until", "extract")
    there = ("--workspace", str(ROOT / "workspace"), "--workers", "1")
    run("remix", *there, "--match", "tempo+key")  # for the tempos; the chain's own come last
    run("run", "--config", str(ROOT / "config.yaml"), "--from", "remix")
    audit()
    pack()


def run(*arguments: str) -> None:
    """Run a command of ``silentmix``."""
    silentmix: Any = importlib.import_module("flows.cli")

    if status := silentmix.main(arguments):
        sys.exit(f"silentmix {' '.join(arguments)}: exit status {status}")


def audit() -> None:
    """Answer for every clip that it is silent, but for the first."""
    clips, there = ROOT / "clips", ("--workspace", str(ROOT / "workspace"))
    run("audit", *there, "--draws", "4", "--strata", "1", "--export", str(clips))
    table = clips / "answers.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["silent"] = "yes" if number else "no"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    run("audit", *there, "--answers", str(table))
    shutil.rmtree(clips)


def pack() -> None:
    """Archive everything but the Prefect server's database, and plots and sounds of reports."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 128 << 20}]
    with lzma.open(ARCHIVE, "wb", filters=filters) as packed, tarfile.open(
        fileobj=packed, mode="w", format=tarfile.PAX_FORMAT
    ) as archive:  # fmt: skip
        for path in sorted(ROOT.rglob("*")):
            name = path.relative_to(ROOT)
            unread = "reports" in name.parts and path.suffix != ".json"
            if path.is_file() and ".prefect" not in name.parts and not unread:
                archive.add(path, str(name), filter=_anonymous)
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size} bytes")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
