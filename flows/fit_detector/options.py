"""What ``fit-detector`` is told: the detector, the examples, the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from demucs_core.detector import registry as detectors
from demucs_core.detector.fit_config import DetectorTrainingConfig, ExampleConfig
from flows.policy.options import PolicyOptions
from flows.running.parameters import (
    RUNTIME,
    CorpusName,
    Device,
    Libraries,
    Options,
    StageParameters,
)

if TYPE_CHECKING:
    Architecture = str
else:
    Architecture = Literal[tuple(detectors.DETECTORS)]

_examples = ExampleConfig()
_training = DetectorTrainingConfig()


class FitDetectorOptions(Options):
    """How to train the detector."""

    architecture: Architecture = Field(
        detectors.DEFAULT_DETECTOR,
        description="Kind of network; demucs-blstm is the paper's, separator is made of a model "
        "and not trained.",
    )
    # which one that is is in the fingerprint
    model: Annotated[str, RUNTIME] = Field(
        "",
        description="Model that a detector of kind separator is made of, by id or name; empty "
        "takes the only one there is, or of several the one that was named `default`.",
    )
    steps: int = Field(_training.steps, ge=1, description="Optimiser steps.")
    batch_size: int = Field(_examples.batch_size, ge=1, description="Examples a step.")
    crop_s: float = Field(_examples.crop_s, gt=0, description="Length of an example in seconds.")
    learning_rate: float = Field(_training.learning_rate, gt=0, description="Peak, of AdamW.")
    false_silent_weight: float = Field(
        _training.false_silent_weight,
        gt=0,
        description="Weight in the loss of a frame that sounds against one that is silent.",
    )
    seed: int = Field(_examples.seed, ge=0, description="Decides weights and examples.")
    device: Device = Field("auto", description="auto takes a GPU if there is one.")


class FitDetectorParameters(FitDetectorOptions, PolicyOptions, StageParameters):
    """Which labelled songs to fit and calibrate on."""

    matters: ClassVar[tuple[str, ...]] = (
        "architecture",
        "model",
        "steps",
        "target_precision",
        "min_songs",
    )

    labelled: CorpusName = Field("labelled", description="Corpus of labelled songs.")
    libraries: Libraries = Field([])
