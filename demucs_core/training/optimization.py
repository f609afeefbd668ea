"""One optimiser step on a batch: forward, loss, backward, clipping, update.

Shape legend: B batch, S sources, C audio channels, T samples of a crop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from demucs_core.separators.separator import SeparationModel
from demucs_core.training.cuda_graph import RecordedGradients, layers_that_draw
from demucs_core.training.divergence import NonFiniteLossError
from demucs_core.training.examples import Example
from demucs_core.training.memory import (
    NO_ROOM_FOR_MOMENTS,
    OutOfMemoryError,
    is_out_of_memory,
    largest_that_fits,
    way_out,
)
from demucs_core.training.mixit import assigned
from demucs_core.training.randomness import drawn_from
from demucs_core.training.ranks import ALONE, Ranks
from demucs_core.training.recomputation import recompute_blocks
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
        ranks: the processes that take each step together, each with its own examples.

    Raises:
        ValueError: ``recompute`` of a model that has no blocks, ``cuda_graph`` of what can't be
            recorded, or nothing to train.
    """

    def __init__(
        self,
        model: SeparationModel,
        config: TrainingConfig,
        execution: Execution,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.execution, self.ranks = config, execution, ranks
        self.device = torch.device(execution.device)
        self.optimizer = make_optimizer(model, config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self._parameters = [
            weight for group in self.optimizer.param_groups for weight in group["params"]
        ]
        if execution.recompute:
            recompute_blocks(model)
        self._model = model
        # Compiled, it has the same parameters under the same names.
        self._alone: nn.Module = model
        if execution.compile:
            self._alone = cast("nn.Module", torch.compile(model))
        self._together: DistributedDataParallel | None = None
        self._recorded: RecordedGradients | None = None
        if execution.cuda_graph:
            _require_recordable(model, execution, ranks)

    def step(self, batch: Example, rate: float, num_weak: int) -> StepFigures:
        """Take one step.

        Args:
            batch: on the model's device; the examples of this process.
            rate: the learning rate.
            num_weak: how many of the first examples are weak.

        Raises:
            NonFiniteLossError: with what was not finite; the weights are as they were before.
            OutOfMemoryError: with what would fit; likewise.
        """
        if self._together is None and not self.ranks.alone:
            self._together = self._rehearse(batch)
        shares = known_shares(batch.membership, batch.mask, batch.weight)
        total = self.ranks.total(shares.sum())
        # The mean of all processes' gradients is to be that of the whole batch.
        divisor = torch.where(total > 0, total, 1) / self.ranks.size
        try:
            if self.execution.cuda_graph:
                weighted = self._replayed(batch, divisor)
            else:
                weighted = self._gradients(batch, divisor, self._together)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            told = str(error)
        else:
            return self._move_or_tell(weighted, shares, rate, num_weak)
        # Out of the handler, whose traceback would keep the tensors that did not fit.
        raise self._too_much(batch, self._num_fitting(batch), told)

    def _gradients(
        self,
        batch: Example,
        divisor: Tensor,
        together: DistributedDataParallel | None = None,
        num_parts: int = 0,
    ) -> Tensor:
        """Make the gradients of a batch, of all processes together or of this one alone.

        Returns:
            Each example's weighted loss.
        """
        self.optimizer.zero_grad(set_to_none=True)
        weighted: list[Tensor] = []
        parts = list(parts_of(batch, num_parts or self.execution.accumulation))
        for place, part in enumerate(parts, 1):
            last = place == len(parts)
            with nullcontext() if together is None or last else together.no_sync():
                with autocast(self.device, self.config.precision):
                    estimates = (together or self._alone)(part.mixture)
                if self.config.objective == "mixit":
                    part = part._replace(membership=assigned(estimates, part.targets))
                losses, part_shares = grouped_losses(
                    estimates, part.targets, part.membership, part.mask, part.weight
                )
                loss = (losses * part_shares).sum() / divisor
                weighted.append((losses * part_shares).detach())
                torch.autograd.backward(self.scaler.scale(loss))
        return torch.cat(weighted)

    def _replayed(self, batch: Example, divisor: Tensor) -> Tensor:
        """Make the gradients of a batch as :meth:`_gradients` does, by replaying the first's."""
        if self._recorded is None or not self._recorded.fits(batch):
            self._recorded = RecordedGradients(self._gradients, self._try, batch, divisor)
        return self._recorded(batch, divisor)

    def _rehearse(self, batch: Example) -> DistributedDataParallel:
        """Take a batch there and back in each process, before any waits for another's gradients.

        Returns:
            The model as all processes train it together.

        Raises:
            OutOfMemoryError: it does not fit, in one of the processes.
        """
        trained = self._parameters if not self.optimizer.state else []
        moments = [torch.empty_like(weight) for weight in trained for _ in range(2)]
        reached, told = self._try(batch)
        del moments
        if self.ranks.any(bool(told)):
            fitting = self.ranks.least(self._num_fitting(batch))
            raise self._too_much(batch, fitting, told or "in another process")
        return self.ranks.replicated(self._alone, reached=reached)

    def _try(self, batch: Example, num_parts: int = 0) -> tuple[bool, str]:
        """Take a batch there and back, of which nothing stays.

        Returns:
            Whether there were gradients of all weights, and what memory says where it is at its
            end.
        """
        buffers = {name: value.clone() for name, value in self._model.named_buffers()}
        told = ""
        try:
            with drawn_from(self.device, 0):  # and what the step draws stays the same
                self._gradients(batch, torch.ones((), device=self.device), num_parts=num_parts)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            told = str(error) or type(error).__name__
        reached = all(weight.grad is not None for weight in self._parameters)
        self.optimizer.zero_grad(set_to_none=True)
        for name, value in self._model.named_buffers():
            value.copy_(buffers[name])
        return reached, told

    def _num_fitting(self, batch: Example) -> int:
        """Find how many examples this process can take there and back at once."""
        return largest_that_fits(
            lambda num: not self._try(Example(*(value[:num] for value in batch)), 1)[1],
            -(-len(batch.mixture) // self.execution.accumulation),
        )

    def _too_much(self, batch: Example, fitting: int, told: str) -> OutOfMemoryError:
        size, num_samples = len(batch.mixture), batch.mixture.shape[-1]
        said = way_out(
            size, self.execution.accumulation, fitting, num_samples, num_processes=self.ranks.size
        )
        return OutOfMemoryError(f"{said} ({told})")

    def _move_or_tell(
        self, weighted: Tensor, shares: Tensor, rate: float, num_weak: int
    ) -> StepFigures:
        try:
            return self._move(weighted, shares, rate, num_weak)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(f"{NO_ROOM_FOR_MOMENTS} ({error})") from error

    def _move(self, weighted: Tensor, shares: Tensor, rate: float, num_weak: int) -> StepFigures:
        """Move the weights along the gradients."""
        self.scaler.unscale_(self.optimizer)
        gradients = [weight.grad for weight in self._parameters if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        figures = self._figures(weighted, shares, norm, num_weak, rate)
        self._check(figures)
        if self.config.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.config.clip_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)  # not where float16 overflowed
        self.scaler.update()
        return figures

    def _figures(
        self, weighted: Tensor, shares: Tensor, norm: Tensor, num_weak: int, rate: float
    ) -> StepFigures:
        """Bring the figures of a step to the CPU, all at once: each way waits for the device."""
        sums = [
            part.sum()
            for pair in (weighted, shares)
            for part in (pair, pair[:num_weak], pair[num_weak:])
        ]
        of_all = self.ranks.total(torch.stack([value.float() for value in sums]))
        values = torch.cat([of_all, norm.float()[None]]).tolist()
        loss, weak, labelled, share, weak_share, labelled_share, norm_value = values
        return StepFigures(
            loss=loss / share if share else loss,
            labelled_loss=labelled / labelled_share if labelled_share else math.nan,
            weak_loss=weak / weak_share if weak_share else math.nan,
            gradient_norm=norm_value,
            learning_rate=rate,
        )

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


def _require_recordable(model: nn.Module, execution: Execution, ranks: Ranks) -> None:
    """Refuse what a CUDA graph does not hold.

    Raises:
        ValueError: says what.
    """
    if torch.device(execution.device).type != "cuda":
        raise ValueError(f"cuda_graph is for a CUDA device, not for {execution.device}")
    if not ranks.alone:
        raise ValueError("cuda_graph is for one process; leave it out, or train in one")
    if execution.compile or execution.recompute:
        raise ValueError("cuda_graph goes with neither compile nor recompute; leave one out")
    if drawing := layers_that_draw(model):
        raise ValueError(
            f"cuda_graph would replay what the layer {drawing[0]!r} drew at the first step; set "
            "its dropout to 0, or leave cuda_graph out"
        )


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
