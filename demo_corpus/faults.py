"""Files that a music folder holds besides music: broken, empty, misnamed, too short, silent."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from demo_corpus.files import FORMATS, AudioFormat, appear_bytes, write_audio
from demo_corpus.sampler import SAMPLE_RATE, Audio

_TEXT = "Rehearsal notes: second chorus slower, ask about the bridge. Bounce again on Monday.\n"


def write_faults(root: Path, rng: np.random.Generator) -> dict[str, str]:
    """Write one file of each kind under ``root``; returns kind → path relative to ``root``.

    Kinds: "garbage" (a FLAC header, then noise), "truncated" (an M4A that ends before its
    index), "empty", "text" (named .mp3), "short" (0.8 s), "silence" (8 s of zeros), "nan" (a
    float WAV, one sample not a number). All are far from usable: none has a row in the truth.
    """
    paths = {
        "garbage": "Unsorted/Live Bootleg (side B).flac",
        "truncated": "Unsorted/download.m4a",
        "empty": "Unsorted/Untitled.wav",
        "text": "Unsorted/rehearsal notes.mp3",
        "short": "Unsorted/count-in.wav",
        "silence": "Unsorted/hidden track pregap.flac",
        "nan": "Unsorted/bounce 3 (float).wav",
    }
    murmur = _murmur(rng, 8.0)
    flac = _encode(murmur[:, :SAMPLE_RATE], "FLAC", "PCM_16")
    appear_bytes(root / paths["garbage"], flac[:60] + rng.bytes(40_000))
    target = root / paths["truncated"]
    write_audio(target, murmur, _format("m4a"))
    appear_bytes(target, target.read_bytes()[: target.stat().st_size // 2])
    appear_bytes(root / paths["empty"], b"")
    appear_bytes(root / paths["text"], (_TEXT * 40).encode())
    short = murmur[:, : round(0.8 * SAMPLE_RATE)]
    appear_bytes(root / paths["short"], _encode(short, "WAV", "PCM_16"))
    appear_bytes(root / paths["silence"], _encode(np.zeros_like(murmur), "FLAC", "PCM_16"))
    murmur[0, SAMPLE_RATE] = np.nan
    write_audio(root / paths["nan"], murmur, _format("float"))
    return paths


def _murmur(rng: np.random.Generator, duration_s: float) -> Audio:
    """Some sound: noise that swells and ebbs."""
    size = round(duration_s * SAMPLE_RATE)
    swell = np.sin(np.linspace(0, 6 * np.pi, size)) ** 2
    murmur: Audio = (0.1 * rng.standard_normal((2, size)) * swell).astype(np.float32)
    return murmur


def _format(name: str) -> AudioFormat:
    return next(known for known in FORMATS if known.name == name)


def _encode(audio: Audio, container: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.T, SAMPLE_RATE, format=container, subtype=subtype)
    return buffer.getvalue()
