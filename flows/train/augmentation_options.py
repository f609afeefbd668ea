"""What ``train`` is told about changes to the audio; each is off unless asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from demucs_core.training.stream_config import BatchAugmentation
from flows.running.parameters import ADDED, Options

_Share = Annotated[float, Field(ge=0, le=1), ADDED]


class AugmentationOptions(Options):
    """Changes to batches on the training device: labelled ones source by source, remixes whole."""

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

    def batch_augmentation(self, sample_rate: int) -> BatchAugmentation:
        """The changes, at a sample rate."""
        return BatchAugmentation(
            gain_db=self.batch_gain_db,
            flip=self.batch_flip,
            swap=self.batch_swap,
            shift_samples=round(self.batch_shift_s * sample_rate),
            remix=self.batch_remix,
        )
