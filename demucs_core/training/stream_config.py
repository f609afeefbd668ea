"""What decides the examples of a training, beside the songs and the recipes."""

from __future__ import annotations

from dataclasses import dataclass, field

from demucs_core.configuration import check_at_least, check_share
from demucs_core.training.crops import Augmentation
from demucs_core.training.lossy_codec import LossyCodec
from demucs_core.training.stretching import Stretching


@dataclass(frozen=True, kw_only=True)
class BatchAugmentation:
    """How batches are changed.

    What is drawn for a batch depends on the seed and the step alone, and is drawn on the CPU: it
    is the same on every device, and in a run that was resumed.

    Attributes:
        gain_db: largest change of a level, up or down, evenly in dB.
        flip: how often a waveform is turned upside down.
        swap: how often left and right are exchanged.
        shift_samples: largest shift in time; what leaves at one end comes in at the other.
        remix: how often the sources of a batch's labelled examples are dealt among them anew.

    Raises:
        ValueError: a field out of range, by name.
    """

    gain_db: float = 0.0
    flip: float = 0.0
    swap: float = 0.0
    shift_samples: int = 0
    remix: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(self, 0, "gain_db", "shift_samples")
        check_share(self, "flip", "swap", "remix")

    @property
    def is_off(self) -> bool:
        """Whether nothing is changed."""
        return self == BatchAugmentation()


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Everything that decides the examples, beside the songs and the recipes.

    Attributes:
        crop_samples: length of an example.
        batch_size: examples a step.
        weak_share: share of weak examples in a batch, once the ramp is over.
        weak_weight: factor on the loss weights of weak examples, once the ramp is over; supervised
            ones have weight 1.
        ramp_steps: steps over which the share of weak examples grows from zero, linearly.
        weight_ramp_steps: steps over which the factor on their loss weights grows from zero,
            linearly.
        masked: whether the loss of weak examples keeps to their segment (see :func:`weak_example`).
        seed: decides everything that is random.
        augmentation: random changes to the audio that is read.
        batch_augmentation: random changes to whole batches, where they are trained on.
        stretching: random changes to the tempo and pitch of examples.
        lossy_codec: what mixtures go through now and then.

    Raises:
        ValueError: a field out of range, by name; or changes to batches, which make mixtures anew
            of their sources, with a codec, of which nothing would be left.
    """

    crop_samples: int
    batch_size: int = 16
    weak_share: float = 0.25
    weak_weight: float = 1.0
    ramp_steps: int = 0
    weight_ramp_steps: int = 0
    masked: bool = True
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch_augmentation: BatchAugmentation = field(default_factory=BatchAugmentation)
    stretching: Stretching = field(default_factory=Stretching)
    lossy_codec: LossyCodec = field(default_factory=LossyCodec)

    def __post_init__(self) -> None:
        check_at_least(self, 1, "crop_samples", "batch_size")
        check_at_least(self, 0, "weak_weight", "ramp_steps", "weight_ramp_steps", "seed")
        check_share(self, "weak_share")
        if self.lossy_codec.probability and not self.batch_augmentation.is_off:
            raise ValueError(
                "batches that are changed have their mixtures made anew, without what a codec did; "
                "set the codec's probability or the changes to batches to 0"
            )
