"""What ``train`` is told about changes to the audio: of single examples, and of whole batches."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from demucs_core.training.crops import Augmentation
from demucs_core.training.stream_config import BatchAugmentation
from flows.running.parameters import ADDED, Options

_example = Augmentation()
_Share = Annotated[float, Field(ge=0, le=1), ADDED]


class AugmentationOptions(Options):
    """Changes to examples as they are read, and to batches on the training device.

    Labelled ones change source by source, remixes as a whole. Those of batches are off unless
    asked for.
    """

    gain_min: Annotated[float, ADDED] = Field(
        _example.gain_min, gt=0, description="Smallest factor on a source, drawn an example."
    )
    gain_max: Annotated[float, ADDED] = Field(
        _example.gain_max, gt=0, description="Largest factor on a source; 1 and 1 leave levels."
    )
    swap_channels: Annotated[bool, ADDED] = Field(
        _example.swap_channels,
        description="Exchange left and right of a source, in every second example.",
    )
    flip_sign: Annotated[bool, ADDED] = Field(
        _example.flip_sign, description="Turn a source upside down, in every second example."
    )
    batch_gain_db: Annotated[float, ADDED] = Field(
        0.0, ge=0, le=60, description="Largest change of a source's level in a batch, up or down."
    )
    batch_flip: _Share = Field(0.0, description="How often a source in a batch changes its sign.")
    batch_swap: _Share = Field(
        0.0, description="How often a source in a batch has left and right exchanged."
    )
    batch_shift_s: Annotated[float, ADDED] = Field(
        0.0, ge=0, description="Largest shift of a source in a batch, in a circle, in seconds."
    )
    batch_remix: _Share = Field(
        0.0, description="How often a batch deals its labelled sources anew among its examples."
    )

    @model_validator(mode="after")
    def _gains_are_a_range(self) -> Self:
        if self.gain_min > self.gain_max:
            raise ValueError(
                f"gain_min must be at most gain_max ({self.gain_max}), not {self.gain_min}"
            )
        return self

    def batch_augmentation(self, sample_rate: int) -> BatchAugmentation:
        """The changes, at a sample rate."""
        return BatchAugmentation(
            gain_db=self.batch_gain_db,
            flip=self.batch_flip,
            swap=self.batch_swap,
            shift_samples=round(self.batch_shift_s * sample_rate),
            remix=self.batch_remix,
        )
