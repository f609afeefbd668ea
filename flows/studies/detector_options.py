"""What ``study detector`` is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from demucs_core.detector.registry import TRAINED
from flows.fit_detector.options import Architecture, FitDetectorOptions
from flows.running.parameters import RUNTIME, Options

STUDY_WORKSPACE = "study-workspace"


_fit = FitDetectorOptions()


class StudyDetectorParameters(Options):
    """What is compared, on how many songs, and where the result goes."""

    workspace: Annotated[str, RUNTIME] = Field(
        STUDY_WORKSPACE, description="Folder for songs and results; a second run continues there."
    )
    output: Annotated[str, RUNTIME] = Field(
        "docs/studies", description="Folder for detector.md, detector.json and the plots."
    )
    architectures: tuple[Architecture, ...] = Field(
        TRAINED, min_length=1, description="Detectors to compare."
    )
    songs: int = Field(400, ge=1, description="Songs to fit on.")
    calibration_songs: int = Field(100, ge=2, description="Songs to calibrate on.")
    test_songs: int = Field(60, ge=1, description="Songs to test on.")
    song_s: float = Field(30.0, ge=10, description="Length of a song in seconds.")
    steps: int = Field(3500, ge=1, description="Optimiser steps of the log-mel detectors.")
    waveform_steps: int = Field(
        400, ge=1, description="Steps of demucs-blstm, each of which takes five times as long."
    )
    learning_rate: float = Field(_fit.learning_rate, gt=0, description="Peak, of AdamW.")
    target_precision: float = Field(0.98, gt=0, lt=1, description="Asked of the extraction.")
    confidence: float = Field(
        0.86,  # the most that 100 songs can give a precision of 0.98
        gt=0.5,
        lt=1,
        description="Confidence of the promise.",
    )
    seed: int = Field(0, ge=0, description="Decides the songs, the weights and the examples.")
    labelled_real: Annotated[str, RUNTIME] = Field(
        "", description="Folder of a labelled set of real music to measure precision on, too."
    )
    workers: Annotated[int, RUNTIME] = Field(
        0, ge=0, description="Worker processes; 0 takes one a CPU core."
    )
