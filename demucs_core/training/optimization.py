"""One optimiser step on a batch: forward, loss, backward, clipping, update.

Shape legend: B batch, S sources, C audio channels, T samples of a crop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from demucs_core.separators.separator import SeparationModel
from demucs_core.training.divergence import NonFiniteLossError
from demucs_core.training.examples import Example
from demucs_core.training.memory import (
    OutOfMemoryError,
    is_out_of_memory,
    largest_that_fits,
    way_out,
)
from demucs_core.training.mixit import assigned
from demucs_core.training.training_config import Execution, Precision, TrainingConfig
from demucs_core.training.weak_loss import grouped_losses, known_shares

LEAST_SCALE = 1.0
"""Where float16's gradients overflow even so, the training does not go on."""


@dataclass(frozen=True, kw_only=True)
class StepFigures:
    """What one step showed.

    Attributes:
        loss: of the batch, before the step.
        labelled_loss: its mean over the labelled examples; NaN without one.
        weak_loss: its mean over the weak ones; NaN without one.
        gradient_norm: of all gradients together, before they were clipped.
        learning_rate: that the step was taken with.
    """

    loss: float
    labelled_loss: float
    weak_loss: float
    gradient_norm: float
    learning_rate: float


class Optimization:
    """The optimiser of a model, and how its gradients are made.

    Args:
        model: on its device.
        config: see :class:`TrainingConfig`.
        execution: see :class:`Execution`.

    Raises:
        ValueError: ``recompute`` of a model that has no blocks, or nothing to train.
    """

    def __init__(
        self, model: SeparationModel, config: TrainingConfig, execution: Execution
    ) -> None:
        self.config, self.execution = config, execution
        self.device = torch.device(execution.device)
        self.optimizer = make_optimizer(model, config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self._parameters = [
            weight for group in self.optimizer.param_groups for weight in group["params"]
        ]
        if execution.recompute:
            recompute_blocks(model)
        self._forward: Callable[[Tensor], Tensor] = model
        if execution.compile:
            # The same parameters under the same names; only the pass through them is another.
            self._forward = torch.compile(model)

    def step(self, batch: Example, rate: float, num_weak: int) -> StepFigures:
        """Take one step.

        Args:
            batch: on the model's device.
            rate: the learning rate.
            num_weak: how many of the first examples are weak.

        Raises:
            NonFiniteLossError: with what was not finite; the weights are as they were before.
            OutOfMemoryError: with what would fit; likewise.
        """
        try:
            weighted, shares = self._gradients(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            told = str(error)
        else:
            return self._move(weighted, shares, rate, num_weak)
        # Out of the handler, whose traceback would keep the tensors that did not fit.
        size, accumulation = len(batch.mixture), self.execution.accumulation
        fitting = largest_that_fits(
            lambda num: self._gradients(Example(*(value[:num] for value in batch)), num_parts=1),
            -(-size // accumulation),
        )
        raise OutOfMemoryError(
            f"{way_out(size, accumulation, fitting, batch.mixture.shape[-1])} ({told})"
        )

    def _gradients(self, batch: Example, num_parts: int | None = None) -> tuple[Tensor, Tensor]:
        """Make the gradients of a batch; returns each example's weighted loss, and its weight."""
        self.optimizer.zero_grad(set_to_none=True)
        shares = known_shares(batch.membership, batch.mask, batch.weight)
        total = shares.sum()
        divisor = torch.where(total > 0, total, 1)
        weighted: list[Tensor] = []
        for part in parts_of(batch, num_parts or self.execution.accumulation):
            with autocast(self.device, self.config.precision):
                estimates = self._forward(part.mixture)
            if self.config.objective == "mixit":
                part = part._replace(membership=assigned(estimates, part.targets))
            losses, part_shares = grouped_losses(
                estimates, part.targets, part.membership, part.mask, part.weight
            )
            loss = (losses * part_shares).sum() / divisor
            weighted.append((losses * part_shares).detach())
            torch.autograd.backward(self.scaler.scale(loss))
        return torch.cat(weighted), shares

    def _move(self, weighted: Tensor, shares: Tensor, rate: float, num_weak: int) -> StepFigures:
        """Move the weights along the gradients."""
        self.scaler.unscale_(self.optimizer)
        gradients = [weight.grad for weight in self._parameters if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        figures = _figures(weighted, shares, norm, num_weak, rate)
        self._check(figures)
        if self.config.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.config.clip_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)  # not where float16 overflowed
        self.scaler.update()
        return figures

    def _check(self, figures: StepFigures) -> None:
        if not math.isfinite(figures.loss):
            raise NonFiniteLossError(f"the loss is {figures.loss}")
        overflow = self.scaler.is_enabled() and self.scaler.get_scale() > LEAST_SCALE
        if not math.isfinite(figures.gradient_norm) and not overflow:
            raise NonFiniteLossError(f"the gradient is {figures.gradient_norm}")

    def state(self) -> dict[str, Any]:
        """What it takes to continue beside the optimiser's moments, JSON-able."""
        return {"scaler": self.scaler.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Adam:
    """Make the optimiser of all weights that are not frozen, fused: one pass over the memory.

    Raises:
        ValueError: all are frozen.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError("every weight is frozen, so there is nothing to train")
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(
        weights,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def parts_of(batch: Example, num_parts: int) -> Iterator[Example]:
    """Cut a batch into parts of as many examples each as can be, none of them empty."""
    size = len(batch.mixture)
    num_parts = min(num_parts, size)
    bounds = [size * part // num_parts for part in range(num_parts + 1)]
    for start, stop in pairwise(bounds):
        yield Example(*(value[start:stop] for value in batch))


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context that a forward pass of a precision runs in."""
    return torch.autocast(
        device.type,
        {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision, torch.bfloat16),
        enabled=precision != "float32",
    )


def recompute_blocks(model: nn.Module) -> None:
    """Make the blocks of a model, the members of its module lists, forget their activations.

    Their weights keep their names.

    Raises:
        ValueError: the model has no module list.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(
            f"recompute: {type(model).__name__} has no blocks (nn.ModuleList); set it to false, "
            "and accumulation higher instead"
        )
    inside = {
        id(module)
        for blocks in lists
        for block in blocks
        for module in block.modules()
        if module is not block
    }
    for blocks in lists:
        for block in blocks:
            if id(block) not in inside:  # a block of a block is computed again with it
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _figures(
    weighted: Tensor, shares: Tensor, norm: Tensor, num_weak: int, rate: float
) -> StepFigures:
    """Bring the figures of a step to the CPU, all at once: each way there waits for the device."""
    sums = [
        part.sum() for pair in (weighted, shares) for part in (pair[:num_weak], pair[num_weak:])
    ]
    total = shares.sum()
    loss = weighted.sum() / torch.where(total > 0, total, 1)
    values = torch.stack([loss.float(), norm.float(), *(value.float() for value in sums)]).tolist()
    loss_value, norm_value, weak, labelled, weak_share, labelled_share = values
    return StepFigures(
        loss=loss_value,
        labelled_loss=labelled / labelled_share if labelled_share else math.nan,
        weak_loss=weak / weak_share if weak_share else math.nan,
        gradient_norm=norm_value,
        learning_rate=rate,
    )
