"""What a training is told: what decides its result, and what only decides how fast it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from demucs_core.configuration import (
    check_above,
    check_at_least,
    check_below,
    check_one_of,
    check_share,
)

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS = ("float32", "bfloat16", "float16")
Objective = Literal["groups", "mixit"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything about a training run that decides its result, beside model and examples.

    Attributes:
        objective: the distance of sums of known ``groups``, or of mixtures that are taken apart
            (``mixit``, :mod:`demucs_core.training.mixit`), whose examples are others.
        steps: optimiser steps.
        learning_rate: of the optimiser, at its highest.
        optimizer: ``adam``, or ``adamw``, whose weight decay leaves the moments alone.
        weight_decay: of the optimiser.
        beta1: decay of the optimiser's mean of the gradients.
        beta2: decay of its mean of their squares.
        schedule: how the rate goes on after the warm-up: ``constant``, along half a ``cosine`` down
            to ``least_rate_share`` at the last step, or at every ``plateau`` of the validations
            down to ``plateau_factor`` of what it was.
        warmup_steps: steps over which the rate grows from zero, linearly.
        least_rate_share: share of ``learning_rate`` that no schedule goes below, but the warm-up.
        plateau_factor: what the rate is multiplied with at a plateau.
        plateau_patience: validations without a better one that make a plateau.
        clip_norm: gradients with a norm above are scaled down to it; 0 leaves all as they are.
        ema_decays: of running averages of the weights, one each, which are validated beside the
            weights themselves: the best of them all is kept.
        validate_every: steps between validations; there is one more after the last step.
        best_by: what makes a validation the best: the lowest ``loss``, or the highest mean ``sdr``.
        patience: validations without a better one after which the training ends; 0 trains on.
        checkpoint_every: steps between checkpoints; there is one more after the last step.
        precision: of the forward pass, but for the loss.

    Raises:
        ValueError: a field out of range, by name.
    """

    objective: Objective = "groups"
    steps: int = 100_000
    learning_rate: float = 3e-4
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    warmup_steps: int = 0
    least_rate_share: float = 0.0
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    clip_norm: float = 0.0
    ema_decays: tuple[float, ...] = ()
    validate_every: int = 1000
    best_by: Literal["loss", "sdr"] = "loss"
    patience: int = 0
    checkpoint_every: int = 500
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps", "validate_every", "checkpoint_every", "plateau_patience")
        check_at_least(self, 0, "weight_decay", "warmup_steps", "clip_norm", "patience")
        check_above(self, 0, "learning_rate", "plateau_factor")
        check_share(self, "least_rate_share", "plateau_factor")
        check_at_least(self, 0, "beta1", "beta2")
        check_below(self, 1, "beta1", "beta2")
        for decay in self.ema_decays:
            if not 0 < decay < 1:
                raise ValueError(f"ema_decays must be above 0 and below 1 each, not {decay}")
        if len(set(self.ema_decays)) < len(self.ema_decays):
            raise ValueError(f"ema_decays must differ, not {list(self.ema_decays)}")
        check_one_of(self, ("groups", "mixit"), "objective")
        check_one_of(self, ("adam", "adamw"), "optimizer")
        check_one_of(self, ("constant", "cosine", "plateau"), "schedule")
        check_one_of(self, ("loss", "sdr"), "best_by")
        check_one_of(self, PRECISIONS, "precision")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a training is carried out: where and how fast, not what comes of it.

    What comes of it is the same within rounding, and to the bit but for ``device``,
    ``accumulation`` and ``compile``.

    Attributes:
        device: where to train.
        num_workers: processes that make examples; 0 makes them in training's own.
        accumulation: parts that a batch goes through the model in, one after another. More of them
            need less memory.
        compile: let ``torch.compile`` make one program of the model's training pass.
        recompute: compute the activations of each block again on the way back instead of keeping
            them: less memory, about a third more time.
        cuda_graph: record how the first batch's gradients are made on a GPU, and replay that for
            the others: quicker where the model is so small that the GPU waits for the CPU.

    Raises:
        ValueError: a field out of range, by name.
    """

    device: str = "cpu"
    num_workers: int = 0
    accumulation: int = 1
    compile: bool = False
    recompute: bool = False
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        check_at_least(self, 0, "num_workers")
        check_at_least(self, 1, "accumulation")
