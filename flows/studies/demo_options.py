"""What ``demo`` is told."""

from __future__ import annotations

from pydantic import Field

from flows.running.parameters import Options


class DemoParameters(Options):
    """Where the demo goes, and how large it is."""

    workspace: str = Field(
        "demo-workspace", description="Folder for the demo's corpus and results."
    )
    seed: int = Field(7, ge=0, description="Decides the songs.")
    train_songs: int = Field(3, ge=1, description="Labelled songs to train on.")
    valid_songs: int = Field(8, ge=1, description="Labelled songs held out to calibrate on.")
    test_songs: int = Field(20, ge=1, description="Labelled songs to evaluate on.")
    unlabelled_songs: int = Field(40, ge=1, description="Songs of the unlabelled corpus.")
    song_s: float = Field(30.0, ge=10, description="Length of a song in seconds.")
    workers: int = Field(0, ge=0, description="Worker processes; 0 takes one a CPU core.")
