"""What ``silentmix study paper`` is told; a preset fills in what is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from demo_corpus.palette import pool
from flows.running.parameters import RUNTIME, Device, Location, Options
from flows.studies.paper.arms import ARMS
from storage.fingerprint import short_hash
from storage.music_format import MusicFormat

WORKSPACE = "paper-workspace"

Preset = Literal["cpu", "gpu", "musdb"]

PRESETS: Mapping[Preset, Mapping[str, Any]] = MappingProxyType(
    {
        "cpu": {},
        "gpu": {
            "labelled_songs": 10,
            "valid_songs": 14,
            "unlabelled_songs": 300,
            "test_songs": 50,
            "song_s": 90.0,
            "sample_rate": 44_100,
            "channels": 2,
            "detector_steps": 2_000,
            "demucs_channels": 48,
            "demucs_depth": 6,
            "wave_unet_channels": 24,
            "wave_unet_depth": 12,
            "open_unmix_hidden": 512,
            "open_unmix_window": 4096,
            "crop_s": 8.0,
            "batch_size": 32,
            "learning_rate": 3e-4,
            "steps": 60_000,
            "mixit_steps": 60_000,
            "validate_every": 2_000,
            "precision": "bfloat16",
            "seeds": 3,
        },
        "musdb": {
            "sample_rate": 44_100,
            "channels": 2,
            "detector_steps": 3_500,
            "target_precision": 0.95,
            "demucs_channels": 64,
            "demucs_depth": 6,
            "wave_unet_channels": 24,
            "wave_unet_depth": 12,
            "open_unmix_hidden": 512,
            "open_unmix_window": 4096,
            "crop_s": 10.0,
            "batch_size": 64,
            "learning_rate": 3e-4,
            "weak_share": 0.25,
            "steps": 200_000,
            "mixit_steps": 100_000,
            "validate_every": 2_500,
            "precision": "bfloat16",
            "seeds": 3,
        },
    }
)
"""What a preset sets; all else, and all of ``cpu``, are the defaults of the fields."""


class PaperParameters(Options):
    """Which songs, which models, how long, and where the result goes."""

    preset: Annotated[Preset, RUNTIME] = Field(
        "cpu", description="What the options are that are not given: for two cores, for GPUs, or "
        "for MUSDB18-HQ and a folder of music."
    )  # fmt: skip
    workspace: Annotated[str, RUNTIME] = Field(
        WORKSPACE, description="Folder for songs, models and results; a second run continues there."
    )
    output: Annotated[str, RUNTIME] = Field(
        "docs/studies", description="Folder for the page, its figures and its plots."
    )
    earlier: Annotated[str, RUNTIME] = Field(
        "",
        description="Folder with the files of this study from another workspace: a training that "
        "they hold to its end is not done again.",
    )
    labelled: Location = Field(
        "", description="Labelled set with test songs; empty generates songs."
    )
    unlabelled: Location = Field("", description="Folder of music, where labelled is given.")
    labelled_songs: int = Field(3, ge=1, description="Generated songs to train on.")
    valid_songs: int = Field(
        5, ge=1, description="Generated songs to calibrate the detector and choose weights on."
    )
    unlabelled_songs: int = Field(100, ge=1, description="Generated songs without stems.")
    test_songs: int = Field(20, ge=2, description="Generated songs to test on.")
    song_s: float = Field(40.0, ge=10, description="Length of a generated song in seconds.")
    labelled_instruments: str = Field(
        "held-out", description="What the labelled songs are played on: a pool of demo_corpus."
    )
    unlabelled_instruments: str = Field("wide", description="The same of the songs without stems.")
    test_instruments: str = Field("unseen", description="The same of the test songs.")
    songs_seed: int = Field(11, ge=0, description="Decides the songs.")
    sample_rate: int = Field(11_025, ge=8_000, description="Samples a second of everything.")
    channels: int = Field(1, ge=1, le=2, description="1 for mono, 2 for stereo.")
    detector_steps: int = Field(1_000, ge=1, description="Optimiser steps of the detector.")
    target_precision: float = Field(
        0.9, gt=0, lt=1, description="Asked of the extraction, as far as the songs can promise it."
    )
    min_duration_s: float = Field(
        2.0, gt=0, description="Shortest segment in seconds that is extracted."
    )
    true_precision: float = Field(
        1.0, gt=0.5, le=1, description="Share of the true silences that are left true (arm 6)."
    )
    demucs_channels: int = Field(8, ge=1, description="Channels of Demucs's first block.")
    demucs_depth: int = Field(4, ge=1, le=12, description="Blocks of Demucs.")
    wave_unet_channels: int = Field(6, ge=1, description="Channels that each level adds.")
    wave_unet_depth: int = Field(8, ge=1, le=12, description="Levels of Wave-U-Net.")
    open_unmix_hidden: int = Field(64, ge=2, description="Width of Open-Unmix's networks.")
    open_unmix_window: int = Field(
        1024, ge=64, description="Samples of Open-Unmix's spectrogram; a quarter is its hop."
    )
    crop_s: float = Field(4.0, gt=0, description="Length of a training crop in seconds.")
    batch_size: int = Field(4, ge=1, description="Crops a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Of Adam, constant.")
    weak_share: float = Field(0.5, gt=0, le=1, description="Share of remixes in a batch.")
    steps: int = Field(20_000, ge=1, description="Optimiser steps of each training.")
    mixit_steps: int = Field(
        10_000, ge=1, description="Steps of the pre-training without labels, which come on top."
    )
    validate_every: int = Field(500, ge=1, description="Steps between validations.")
    validation_crops: int = Field(4, ge=1, description="Crops of each validation song.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Of the models' forward pass in training."
    )
    seeds: int = Field(5, ge=1, description="Trainings of each arm, from other random numbers.")
    arms: Annotated[list[str], RUNTIME] = Field(
        [], description=f"Arms to train now, of {', '.join(ARMS)}; empty takes all."
    )
    curves: Annotated[bool, RUNTIME] = Field(
        False, description="After the table, train the points of the curves too."
    )
    train: Annotated[bool, RUNTIME] = Field(
        True, description="Off, the page is written of what there is."
    )
    processes: Annotated[int, RUNTIME] = Field(
        0, ge=0, le=1024, description="Trainings side by side; 0 takes one a GPU, or one a core."
    )
    device: Device = Field("auto", description="auto takes the GPUs, if there are any.")
    cuda_graph: Annotated[bool, RUNTIME] = Field(
        False,
        description="Record the steps on a GPU once and replay them, but for arm 2, whose dropout "
        "draws anew: quicker for models as small as those of cpu.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Take from the preset what was not given."""
        if isinstance(given, dict):
            return {**PRESETS.get(given.get("preset", "cpu"), {}), **given}
        return given

    @field_validator("labelled_instruments", "unlabelled_instruments", "test_instruments")
    @classmethod
    def _check_pool(cls, name: str) -> str:
        return pool(name).name

    @field_validator("arms")
    @classmethod
    def _check_arms(cls, names: list[str]) -> list[str]:
        if unknown := [name for name in names if name not in ARMS]:
            raise ValueError(f"there is no arm {unknown[0]!r}; there are {', '.join(ARMS)}")
        return names

    @model_validator(mode="after")
    def _check_music(self) -> Self:
        """Want both sets of a user's own music, or none."""
        if bool(self.labelled) != bool(self.unlabelled):
            raise ValueError("labelled and unlabelled go together: give both, or neither")
        if self.preset == "musdb" and not self.labelled:
            raise ValueError("preset musdb wants labelled and unlabelled: the folders of both")
        return self

    @property
    def music(self) -> MusicFormat:
        """What the study's workspaces hold."""
        return MusicFormat(sample_rate=self.sample_rate, num_channels=self.channels)

    @property
    def usual(self) -> PaperParameters:
        """The preset, with the same music and nothing else changed."""
        given = {"labelled": self.labelled, "unlabelled": self.unlabelled}
        return PaperParameters.model_validate({"preset": self.preset, **given})

    @property
    def study(self) -> str:
        """Name of the study's files: with other parameters, it is another study beside it."""
        name = "paper" if self.preset == "cpu" else f"paper-{self.preset}"
        if self.content() == self.usual.content():
            return name
        return f"{name}-{short_hash(json.dumps(self.content(), sort_keys=True), 6)}"
