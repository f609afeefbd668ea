"""What ``train`` is told: the model, the examples, the loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from demucs_core.training.stream import StreamConfig
from demucs_core.training.trainer import TrainingConfig
from flows.running.parameters import (
    RUNTIME,
    CorpusName,
    Device,
    Libraries,
    StageParameters,
)
from flows.train.model_options import ModelOptions

_CROP_S = 10.0
_stream = StreamConfig(crop_samples=1)
_training = TrainingConfig()


class TrainOptions(ModelOptions):
    """What to train, and how."""

    steps: int = Field(_training.steps, ge=1, description="Optimiser steps.")
    batch_size: int = Field(_stream.batch_size, ge=1, description="Examples a step.")
    crop_s: float = Field(_CROP_S, gt=0, description="Length of an example in seconds.")
    learning_rate: float = Field(_training.learning_rate, gt=0, description="Of Adam, constant.")
    weak_share: float = Field(
        _stream.weak_share,
        ge=0,
        le=1,
        description="Share of remixes in a batch; 0 trains on labelled songs alone.",
    )
    weak_weight: float = Field(
        _stream.weak_weight, ge=0, description="Factor on the loss of remixes."
    )
    confidence_weighting: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="A remix weighs the detector's confidence in its silences to this power; at 0 "
        "all weigh alike.",
    )
    ramp_steps: int = Field(
        _stream.ramp_steps, ge=0, description="Steps over which the share of remixes grows."
    )
    weight_ramp_steps: int = Field(
        _stream.weight_ramp_steps,
        ge=0,
        description="Steps over which the factor on the loss of remixes grows.",
    )
    masked: bool = Field(
        _stream.masked,
        description="Keep the loss of a remix to its segment, so that segments "
        "shorter than the crop can be used; off is the paper's scheme.",
    )
    remix_probability: float = Field(
        _stream.augmentation.remix_probability,
        ge=0,
        le=1,
        description="How often a labelled example takes each source from another song.",
    )
    validate_every: int = Field(
        _training.validate_every, ge=1, description="Steps between validations."
    )
    validation_crops: int = Field(4, ge=1, description="Crops of each validation song.")
    checkpoint_every: Annotated[int, RUNTIME] = Field(
        _training.checkpoint_every, ge=1, description="Steps between checkpoints."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        _training.precision, description="Of the forward pass; bfloat16 needs a GPU."
    )
    seed: int = Field(_stream.seed, ge=0, description="Decides weights and examples.")
    device: Device = Field("auto", description="auto takes a GPU if there is one.")
    loader_workers: Annotated[int, RUNTIME] = Field(
        0, ge=0, le=256, description="Processes that make examples; 0 makes them in training's own."
    )


class TrainParameters(TrainOptions, StageParameters):
    """Which labelled songs and which remixes to train on."""

    labelled: CorpusName = Field("labelled", description="Corpus of labelled songs.")
    libraries: Libraries = Field([])
    # what is read from them is in the fingerprint, under made_from
    corpora: Annotated[list[str], RUNTIME] = Field(
        ["music"], description="Corpora whose remixes are used, if weak_share is above 0."
    )
