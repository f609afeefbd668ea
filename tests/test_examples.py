"""The examples run, and show what they say."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_half_known_music_teaches() -> None:
    example = runpy.run_path(str(EXAMPLES / "train_on_half_known_music.py"))
    assert example["main"]() < 0.8  # of the error of silence
