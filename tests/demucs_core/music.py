"""The music that the tests of models and detectors are about, unless they say otherwise."""

from __future__ import annotations

from typing import Any

SOURCES = ("drums", "bass", "other", "vocals")
MUSIC: dict[str, Any] = {"sources": SOURCES, "sample_rate": 44_100, "num_channels": 2}
FRAMES: dict[str, Any] = {**MUSIC, "hop_samples": 4096}
"""With the frames of its activity."""
