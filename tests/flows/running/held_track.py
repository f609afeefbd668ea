"""A track that nobody can read until a test lets them: so that a run is surely under way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class HeldTrack:
    """Canonical audio that has a pipe in its place; who opens that waits until :meth:`release`."""

    def __init__(self, audio: Path) -> None:
        self._audio = audio
        self._kept = audio.with_suffix(".kept")
        self._pipe = audio.with_suffix(".pipe")
        os.mkfifo(self._pipe)
        audio.rename(self._kept)
        os.link(self._pipe, audio)

    def release(self) -> None:
        """Put the audio back, and wake who waits: an I/O error for them, and they try again."""
        if not self._kept.exists():
            return
        self._kept.replace(self._audio)
        with suppress(OSError):  # nobody waits
            os.close(os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK))
        self._pipe.unlink()


@contextmanager
def held(*audio: Path) -> Iterator[list[HeldTrack]]:
    """Hold tracks until they are released, or the block ends."""
    tracks = [HeldTrack(path) for path in audio]
    try:
        yield tracks
    finally:
        for track in tracks:
            track.release()
