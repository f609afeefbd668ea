"""What ``train`` is told about changes to the audio: of single examples, and of whole batches."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Self

from pydantic import Field, model_validator

from demucs_core.training.crops import Augmentation
from demucs_core.training.lossy_codec import CodecName, LossyCodec
from demucs_core.training.stream_config import BatchAugmentation
from demucs_core.training.stretching import Stretching
from flows.running.parameters import ADDED, Options
from storage.errors import UserError

_example = Augmentation()
_stretching = Stretching()
_codec = LossyCodec()
_Share = Annotated[float, Field(ge=0, le=1), ADDED]


class AugmentationOptions(Options):
    """Changes to examples as they are read, and to batches on the training device.

    Labelled ones change source by source, remixes as a whole. Tempo and pitch, codecs, and those
    of batches are off unless asked for.
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

    stretch_probability: _Share = Field(
        _stretching.probability,
        description="How often an example changes tempo and pitch; 0.2 is what official demucs "
        "does (extra stretch).",
    )
    stretch_tempo: Annotated[float, ADDED] = Field(
        _stretching.tempo, ge=0, lt=1, description="Largest change of the tempo, as a share."
    )
    stretch_semitones: Annotated[int, ADDED] = Field(
        _stretching.semitones, ge=0, le=24, description="Largest change of the pitch."
    )
    codec_probability: _Share = Field(
        _codec.probability,
        description="How often a mixture goes through a lossy codec, while its sources stay clean.",
    )
    codecs: Annotated[list[CodecName], ADDED] = Field(
        list(_codec.codecs), min_length=1, description="Of which one is drawn."
    )
    codec_min_kbps: Annotated[int, ADDED] = Field(
        _codec.min_kbps, ge=8, le=512, description="Lowest bit rate, of all channels together."
    )
    codec_max_kbps: Annotated[int, ADDED] = Field(
        _codec.max_kbps, ge=8, le=512, description="Highest bit rate."
    )

    @model_validator(mode="after")
    def _codec_is_heard(self) -> Self:
        changed = self.batch_augmentation(96_000)
        if self.codec_min_kbps > self.codec_max_kbps:
            raise ValueError(
                f"codec_min_kbps must be at most codec_max_kbps ({self.codec_max_kbps}), not "
                f"{self.codec_min_kbps}"
            )
        if self.codec_probability and not changed.is_off:
            raise ValueError(
                "codec_probability must be 0 where batches are changed (batch_gain_db, batch_flip, "
                "batch_swap, batch_shift_s, batch_remix): they make mixtures anew of their sources"
            )
        return self

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

    def stretching(self, sample_rate: int) -> Stretching:
        """Changes to tempo and pitch, at a sample rate.

        Raises:
            UserError: the package that makes them is not installed.
        """
        if not self.stretch_probability:
            return Stretching()
        if find_spec("python_stretch") is None:
            raise UserError(
                "stretch_probability: needs the package python-stretch: pip install "
                "'silentmix[stretch]', or set it to 0"
            )
        return Stretching(
            probability=self.stretch_probability,
            tempo=self.stretch_tempo,
            semitones=self.stretch_semitones,
            sample_rate=sample_rate,
        )

    def lossy_codec(self, sample_rate: int) -> LossyCodec:
        """What mixtures go through, at a sample rate."""
        if not self.codec_probability:
            return LossyCodec()
        return LossyCodec(
            probability=self.codec_probability,
            codecs=tuple(self.codecs),
            min_kbps=self.codec_min_kbps,
            max_kbps=self.codec_max_kbps,
            sample_rate=sample_rate,
        )
