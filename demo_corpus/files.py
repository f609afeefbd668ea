"""Files as they lie in music folders: every usual format, and some that no program can use."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from demo_corpus.sampler import SAMPLE_RATE

KINDS = (
    "mp3", "wav", "flac", "m4a", "ogg", "mp3", "mono.wav", "48k.flac", "24bit.wav", "float.wav"
)  # fmt: skip
"""How songs are encoded, in turn: what comes before the last dot is a variant."""

FOLDERS = ("", "Live at the Café", "singles/2019", "Bücher & Töne", "")
OGG_BLOCK = SAMPLE_RATE


def music_file(name: str, index: int) -> tuple[str, str]:
    """Path below the corpus and kind of the ``index``-th song."""
    kind = KINDS[index % len(KINDS)]
    folder = FOLDERS[index % len(FOLDERS)]
    return f"{folder}/{name}.{kind.split('.')[-1]}".lstrip("/"), kind


def encode(audio: np.ndarray, path: Path, kind: str) -> None:
    """Write stereo audio ``(2, T)`` at 44.1 kHz as one of :data:`KINDS`."""
    variant, _, ending = f".{kind}".rpartition(".")
    rate = SAMPLE_RATE
    if variant == ".mono":
        audio = audio.mean(axis=0, keepdims=True)
    if variant == ".48k":
        rate = 48_000
        audio = soxr.resample(audio.T, SAMPLE_RATE, rate).T
    if ending == "m4a":
        _encode_aac(audio, path)
        return
    subtype = {".24bit": "PCM_24", ".float": "FLOAT"}.get(variant)
    with soundfile.SoundFile(
        path, "w", rate, audio.shape[0], subtype=subtype, format=ending.upper()
    ) as file:
        # libsndfile's Vorbis encoder overflows its stack on minutes of audio at once
        for start in range(0, audio.shape[1], OGG_BLOCK):
            file.write(audio[:, start : start + OGG_BLOCK].T)


def _encode_aac(audio: np.ndarray, path: Path) -> None:
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE)
        stream.layout = "stereo"
        stream.bit_rate = 192_000
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(audio, dtype=np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def broken_files(root: Path, song: Path, leak: Path | None) -> None:
    """Write what ingest must reject; the file names say why.

    Args:
        root: folder of the corpus.
        song: a song of the corpus, to copy and to break.
        leak: a labelled test mixture, to copy.
    """
    folder = root / "broken"
    folder.mkdir(exist_ok=True)
    content = song.read_bytes()
    (folder / "garbage.mp3").write_bytes(np.random.default_rng(0).bytes(40_000))
    (folder / "header only.flac").write_bytes(b"fLaC" + bytes(34))
    (folder / "empty.wav").write_bytes(b"")
    (folder / "notes.mp3").write_text("Remember to record the second verse again.\n" * 20)
    (folder / f"duplicate{song.suffix}").write_bytes(content)
    seconds = np.zeros((SAMPLE_RATE * 8, 2), dtype=np.float32)
    soundfile.write(folder / "silence.wav", seconds, SAMPLE_RATE)
    soundfile.write(folder / "too short.wav", seconds[: SAMPLE_RATE // 2] + 0.1, SAMPLE_RATE)
    seconds[SAMPLE_RATE:, 0] = np.nan
    soundfile.write(folder / "not a number.wav", seconds, SAMPLE_RATE, subtype="FLOAT")
    if leak is not None:
        shutil.copyfile(leak, folder / "leaked test song.wav")
