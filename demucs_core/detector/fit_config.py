"""What decides a fit of a detector: its examples, how they differ from the songs, its loop."""

from __future__ import annotations

from dataclasses import dataclass, field

from demucs_core.activity import ActivityConfig
from demucs_core.configuration import check_above, check_at_least, check_share


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How examples differ from the songs they come from; probabilities are of each example.

    Attributes:
        remix_probability: each source from another song and place, instead of one song as it is.
        drop_probability: of each source: left out altogether.
        mute_probability: of each source: left out for a part of the crop, so that it enters or
            leaves.
        gain_db: largest gain of a source in a remix, up or down; half as much in a real mixture.
        equalise_probability: of each source: other gains in every octave, so that it sounds like
            another instrument that plays the same.
        equalise_db: largest of those gains, up or down.
        speed_probability: played faster or slower, so lower or higher (in a remix each source by
            itself).
        max_speed: largest factor of that, and its inverse: five semitones.
        quieter_db: how far below full scale the loudest sample may be put.
        lowpass_probability: nothing above 10 to 16 kHz, as lossy encoders and lower sample rates
            leave it.
        holes_probability: bins far below their neighbours emptied, as a lossy encoder at a low bit
            rate does.
        noise_probability: a floor of noise in all bins, 20 to 50 dB below the mean power of a bin.
        tone_probability: the mixture's spectrum tilted and bent, as another master of the song
            would be.
        width_probability: the side made weaker, stronger or (for a third of them) nothing: mono.
        band_mask_probability: a band of frequencies hidden, so that no decision hangs on one
            (SpecAugment).

    Raises:
        ValueError: a field out of range, by name.
    """

    remix_probability: float = 0.6
    drop_probability: float = 0.2
    mute_probability: float = 0.25
    gain_db: float = 8.0
    equalise_probability: float = 0.4
    equalise_db: float = 10.0
    speed_probability: float = 0.4
    max_speed: float = 1.35
    quieter_db: float = 15.0
    lowpass_probability: float = 0.3
    holes_probability: float = 0.3
    noise_probability: float = 0.2
    tone_probability: float = 0.4
    width_probability: float = 0.3
    band_mask_probability: float = 0.3

    def __post_init__(self) -> None:
        check_share(self, *(name for name in vars(self) if name.endswith("_probability")))
        check_at_least(self, 1, "max_speed")
        check_at_least(self, 0, "gain_db", "quieter_db", "equalise_db")


@dataclass(frozen=True, kw_only=True)
class ExampleConfig:
    """Everything that decides the examples, beside the songs and the detector.

    Attributes:
        batch_size: examples a step.
        crop_s: length of an example (seconds), rounded to frames: about what a detector hears of a
            song before and after a frame.
        seed: decides everything that is random.
        activity: what counts as sounding.
        augmentation: how examples differ from the songs.

    Raises:
        ValueError: a field out of range, by name.
    """

    batch_size: int = 6
    crop_s: float = 12.0
    seed: int = 0
    activity: ActivityConfig = field(default_factory=ActivityConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        check_at_least(self, 1, "batch_size")
        check_above(self, 0, "crop_s")
        check_at_least(self, 0, "seed")


@dataclass(frozen=True, kw_only=True)
class DetectorTrainingConfig:
    """Everything about a fit that decides its result, beside the detector and the examples.

    Attributes:
        steps: optimiser steps.
        learning_rate: peak learning rate of AdamW: reached after a twentieth of the steps, then
            down to zero along a cosine.
        weight_decay: weight decay of AdamW.
        false_silent_weight: weight of an active frame against a silent one in the loss: above 1,
            calling silent what sounds costs more than the opposite.

    Raises:
        ValueError: a field out of range, by name.
    """

    steps: int = 6000
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    false_silent_weight: float = 1.0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps")
        check_above(self, 0, "learning_rate", "false_silent_weight")
        check_at_least(self, 0, "weight_decay")
