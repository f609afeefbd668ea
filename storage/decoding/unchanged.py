"""Whether canonical audio is what was written when it was ingested."""

from __future__ import annotations

import hashlib

from storage.decoding.canonical import wav_header
from storage.reading import OTHER_SAMPLES
from storage.workspace import Workspace


def what_changed(workspace: Workspace, path: str, num_samples: int, content_hash: str) -> str:
    """What is not as it was written, in words; empty where all is.

    Args:
        workspace: where the file is.
        path: of the file, relative to it.
        num_samples: that it was written with.
        content_hash: of the samples; empty where it is not known.

    Raises:
        FileNotFoundError: it is gone.
        OSError: it can't be read.
    """
    music = workspace.music
    header = wav_header(num_samples, music.sample_rate, music.num_channels)
    with workspace.fs.open(workspace.resolve(path), "rb") as file:
        if file.read(len(header)) != header:
            return "its header is not the one that was written"
        if content_hash and hashlib.file_digest(file, "sha256").hexdigest() != content_hash:
            return OTHER_SAMPLES
    return ""
