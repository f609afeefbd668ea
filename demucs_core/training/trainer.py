"""Train a separation model on a stream of examples, so that a killed run continues bit for bit.

Shape legend: B batch, S sources, C audio channels, T samples of a crop.

The trainer opens no file: it hands out its state as flat tensors and a JSON object, takes both
back, and says when it would like to be saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from demucs_core.separators.registry import SeparationModel, config_of
from demucs_core.training.examples import Example, collate
from demucs_core.training.state import check_same, copy_to_cpu, flatten_state, restore_state
from demucs_core.training.validation import Validation, ValidationCrop, measure_crops
from demucs_core.training.weak_loss import grouped_l1

STATE_VERSION = 1
"""Version of what :meth:`Trainer.state` gives."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything about a training run that decides its result.

    Attributes:
        steps: optimiser steps.
        batch_size: examples a step.
        crop_samples: length of an example.
        learning_rate: of Adam, constant.
        weak_share: share of weak examples in a batch, once the ramp is over.
        weak_weight: factor on the loss weights of weak examples, once the ramp is over.
        ramp_steps: steps over which the share of weak examples grows from zero.
        weight_ramp_steps: steps over which the factor on their loss weights grows from zero.
        masked: whether the loss of weak examples keeps to their segment.
        remix_probability: how often a supervised example takes each source from another track.
        validate_every: steps between validations; there is one more after the last step.
        checkpoint_every: steps between checkpoints; there is one more after the last step.
        seed: decides examples, and the initial weights where the caller uses it for them.
        precision: of the forward pass; ``"bfloat16"`` needs a GPU.

    Raises:
        ValueError: a field out of range, by name.
    """

    steps: int = 100_000
    batch_size: int = 16
    crop_samples: int = 441_000
    learning_rate: float = 3e-4
    weak_share: float = 0.25
    weak_weight: float = 1.0
    ramp_steps: int = 0
    weight_ramp_steps: int = 0
    masked: bool = True
    remix_probability: float = 0.5
    validate_every: int = 1000
    checkpoint_every: int = 500
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "crop_samples", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("weak_share", "remix_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        for name in ("weak_weight", "ramp_steps", "weight_ramp_steps", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16, not {self.precision!r}")


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one optimiser step did.

    Attributes:
        step: optimiser steps done, this one included.
        num_steps: of the whole run.
        loss: of this step's batch, before the step.
        validation: the validation after this step, if it was due.
    """

    step: int
    num_steps: int
    loss: float
    validation: Validation | None


class NonFiniteLossError(FloatingPointError):
    """The loss of a step is NaN or infinite, so that training can't go on."""


class Trainer:
    """Adam on the grouped L1 loss, with validation, the best model kept, and resuming.

    Args:
        model: what to train, moved to ``device`` and changed in place.
        config: see :class:`TrainingConfig`.
        examples: ``config.steps * config.batch_size`` examples by index, for example an
            :class:`~demucs_core.training.stream.ExampleStream`. Example i may depend on nothing
            but i, or else a resumed run differs.
        validation: crops, all of one shape, the same at every start of the run. May be empty: then
            the best model is the one with the lowest training loss.
        device: where to train.
        num_workers: processes that make examples; 0 makes them in this one. The result is the same.

    Raises:
        ValueError: ``bfloat16`` without a GPU.
    """

    def __init__(
        self,
        model: SeparationModel,
        config: TrainingConfig,
        examples: Dataset[Example],
        validation: Sequence[ValidationCrop],
        *,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
    ) -> None:
        self.device = torch.device(device)
        if config.precision == "bfloat16" and self.device.type != "cuda":
            raise ValueError("precision bfloat16 needs a GPU; on the CPU it must be float32")
        self.model: SeparationModel = model.to(self.device)
        self.config = config
        self.examples = examples
        self.validation = validation
        self.num_workers = num_workers
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        self.step = 0
        self.history: list[Validation] = []
        self._best_weights = self._weights()
        self._loss_sum = 0.0
        self._num_losses = 0

    @property
    def best(self) -> Validation | None:
        """The best validation so far."""
        return next((entry for entry in reversed(self.history) if entry.best), None)

    def best_weights(self) -> dict[str, Tensor]:
        """Return a copy on the CPU of the weights of the best validation, or of the first ones."""
        return {name: value.clone() for name, value in self._best_weights.items()}

    def run(
        self,
        *,
        stop: Callable[[], bool] | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        on_checkpoint: Callable[[], None] | None = None,
    ) -> bool:
        """Train from where it is to the last step.

        Args:
            stop: asked before each step; once it says so, the run ends there.
            on_step: told of each step.
            on_checkpoint: called when a checkpoint is due, and when the run was stopped; it should
                save what :meth:`state` gives.

        Returns:
            Whether all steps are done.

        Raises:
            NonFiniteLossError: with the number of the step; the model is as it was before it.
        """
        config = self.config
        loader = DataLoader(
            self.examples,
            batch_size=config.batch_size,
            sampler=range(self.step * config.batch_size, config.steps * config.batch_size),
            collate_fn=collate,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
            # Or the loader would draw from torch's global generator.
            generator=torch.Generator().manual_seed(config.seed),
        )
        batches = iter(loader)
        while self.step < config.steps:
            if stop is not None and stop():
                if on_checkpoint is not None:
                    on_checkpoint()
                return False
            loss = self._train_step(next(batches))
            last = self.step == config.steps
            validation = None
            if last or self.step % config.validate_every == 0:
                validation = self._validate()
            if on_step is not None:
                on_step(
                    StepReport(
                        step=self.step, num_steps=config.steps, loss=loss, validation=validation
                    )
                )
            if on_checkpoint is not None and (last or self.step % config.checkpoint_every == 0):
                on_checkpoint()
        return True

    def _train_step(self, batch: Example) -> float:
        """Take one step on a batch, and return its loss."""
        batch = Example(*(value.to(self.device, non_blocking=True) for value in batch))
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            estimates = self.model(batch.mixture)
        loss = grouped_l1(estimates, batch.targets, batch.membership, batch.mask, batch.weight)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the loss is {value} at step {self.step + 1} of {self.config.steps}; look for NaN "
                "in the audio, or lower learning_rate"
            )
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.step += 1
        self._loss_sum += value
        self._num_losses += 1
        return value

    def _autocast(self) -> torch.autocast:
        """Return the context that a forward pass runs in."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        )

    def _validate(self) -> Validation:
        """Measure the validation crops, and keep the model if it is the best so far."""
        train_loss = self._loss_sum / self._num_losses
        self._loss_sum, self._num_losses = 0.0, 0
        loss = train_loss
        sdr_db: tuple[float, ...] = ()
        if self.validation:
            with self._autocast():
                loss, sdr_db = measure_crops(
                    self.model, self.validation, batch_size=self.config.batch_size
                )
        if not math.isfinite(loss):
            raise NonFiniteLossError(f"the validation loss is {loss} after step {self.step}")
        best = self.best
        entry = Validation(
            step=self.step,
            train_loss=train_loss,
            loss=loss,
            sdr_db=sdr_db,
            best=best is None or loss < best.loss,
        )
        self.history.append(entry)
        if entry.best:
            self._best_weights = self._weights()
        return entry

    def _weights(self) -> dict[str, Tensor]:
        """Copy the model's weights to the CPU."""
        return {name: copy_to_cpu(value) for name, value in self.model.state_dict().items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all it takes to continue: tensors by name, and what JSON can hold.

        The tensors are copies on the CPU, contiguous, none sharing memory: ``model.*``,
        ``best.*``, and ``adam.<moment>.*`` once a step was taken.
        """
        tensors = flatten_state(self.model, self.optimizer, self._best_weights)
        meta = {
            "version": STATE_VERSION,
            "model": config_of(self.model),
            "training": asdict(self.config),
            "step": self.step,
            "loss_sum": self._loss_sum,
            "num_losses": self._num_losses,
            "history": [entry.to_json() for entry in self.history],
        }
        return tensors, meta

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Continue from what :meth:`state` gave, in this trainer instead of its own.

        The model and the training must be configured as they were, but for the number of steps
        and how often to checkpoint.

        Raises:
            ValueError: another version, a field configured otherwise, or a tensor that is missing
                or of another shape; by name, and before anything is changed.
        """
        if meta["version"] != STATE_VERSION:
            raise ValueError(
                f"the checkpoint has version {meta['version']}, this code reads {STATE_VERSION}"
            )
        check_same("model", meta["model"], config_of(self.model))
        then, now = dict(meta["training"]), asdict(self.config)
        for name in ("steps", "checkpoint_every"):
            then[name] = now[name]
        check_same("training", then, now)
        self._best_weights = restore_state(tensors, self.model, self.optimizer)
        self.step = meta["step"]
        self._loss_sum, self._num_losses = meta["loss_sum"], meta["num_losses"]
        self.history = [Validation.from_json(entry) for entry in meta["history"]]
