"""What ``study weak-length`` is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.running.parameters import RUNTIME, Options


class WeakLengthParameters(Options):
    """How many songs, how large a model, how long a training, and where the result goes."""

    workspace: Annotated[str, RUNTIME] = Field(
        "study-workspace",
        description="Folder for songs and results; a second run continues there.",
    )
    output: Annotated[str, RUNTIME] = Field(
        "docs/studies", description="Folder for weak-length.md, weak-length.json and the plots."
    )
    train_songs: int = Field(8, ge=1, description="Labelled songs to train on.")
    valid_songs: int = Field(
        6, ge=1, description="Labelled songs to calibrate the detector and to validate on."
    )
    unlabelled_songs: int = Field(40, ge=1, description="Songs without stems.")
    song_s: float = Field(60.0, ge=10, description="Length of a song in seconds.")
    detector_steps: int = Field(600, ge=1, description="Optimiser steps of the detector.")
    target_precision: float = Field(
        0.9, gt=0, lt=1, description="Asked of the extraction, as far as the songs can promise it."
    )
    min_duration_s: float = Field(
        2.0, gt=0, description="Shortest segment in seconds that is extracted."
    )
    crop_s: float = Field(10.0, gt=0, description="Length of a training crop in seconds.")
    batch_size: int = Field(2, ge=1, description="Crops a step.")
    steps: int = Field(400, ge=1, description="Optimiser steps of each training.")
    weak_share: float = Field(0.5, gt=0, le=1, description="Share of remixes in a batch.")
    channels: int = Field(8, ge=1, description="Channels of the model's first encoder block.")
    depth: int = Field(5, ge=1, le=12, description="Encoder blocks of the model.")
    learning_rate: float = Field(2e-3, gt=0, description="Of Adam, constant.")
    seeds: int = Field(
        2,
        ge=0,
        description="Trainings of each kind, from other random numbers; 0 counts minutes alone.",
    )
    seed: int = Field(7, ge=0, description="Decides the songs.")
    workers: Annotated[int, RUNTIME] = Field(
        0, ge=0, description="Worker processes; 0 takes one a CPU core."
    )
