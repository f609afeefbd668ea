"""Train a separation model on a stream of examples, so that a killed run continues bit for bit.

Shape legend: B batch, S sources, C audio channels, T samples of a crop.

The trainer opens no file: it hands out its state as flat tensors and a JSON object, takes both
back, and says when it would like to be saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from demucs_core.configuration import check_above, check_at_least, config_to_json
from demucs_core.separators.registry import config_of
from demucs_core.separators.separator import SeparationModel
from demucs_core.trainer_state import TrainerState, Weights, copy_weights
from demucs_core.training.examples import Example
from demucs_core.training.stream import ExampleStream, StreamConfig
from demucs_core.training.validation import Validation, ValidationCrop, measure_crops
from demucs_core.training.weak_loss import grouped_l1

STATE_VERSION = 2
"""Version of what :meth:`Trainer.state` gives."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything about a training run that decides its result, beside model and examples.

    Attributes:
        steps: optimiser steps.
        learning_rate: of Adam, constant.
        validate_every: steps between validations; there is one more after the last step.
        checkpoint_every: steps between checkpoints; there is one more after the last step.
        precision: of the forward pass; ``"bfloat16"`` needs a GPU.

    Raises:
        ValueError: a field out of range, by name.
    """

    steps: int = 100_000
    learning_rate: float = 3e-4
    validate_every: int = 1000
    checkpoint_every: int = 500
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        check_at_least(self, 1, "steps", "validate_every", "checkpoint_every")
        check_above(self, 0, "learning_rate")
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
        examples: by index; example i may depend on nothing but i, or else a resumed run differs.
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
        examples: ExampleStream,
        validation: Sequence[ValidationCrop],
        *,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
    ) -> None:
        self.device = torch.device(device)
        if config.precision == "bfloat16" and self.device.type != "cuda":
            raise ValueError("precision bfloat16 needs a GPU; on the CPU it must be float32")
        self.model = model.to(self.device)
        self.config = config
        self.examples = examples
        self.validation = validation
        self.num_workers = num_workers
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        self.step = 0
        self.history: list[Validation] = []
        self._best_weights = copy_weights(self.model)
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
        batches = iter(
            self.examples.batches(
                self.step,
                config.steps,
                num_workers=self.num_workers,
                pin_memory=self.device.type == "cuda",
            )
        )
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
                    self.model, self.validation, batch_size=self.examples.config.batch_size
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
            self._best_weights = copy_weights(self.model)
        return entry

    @property
    def configuration(self) -> dict[str, Any]:
        """How examples and steps are made, JSON-able, as checkpoints and descriptions tell it."""
        return config_to_json(self.examples.config) | config_to_json(self.config)

    def state(self) -> tuple[Weights, dict[str, Any]]:
        """Return all it takes to continue: tensors by name, and what JSON can hold.

        The tensors are copies on the CPU, contiguous, none sharing memory: ``model.*``,
        ``best.*``, and ``adam.<moment>.*`` once a step was taken.
        """
        progress = {
            "step": self.step,
            "loss_sum": self._loss_sum,
            "num_losses": self._num_losses,
            "history": [entry.to_json() for entry in self.history],
        }
        return self._state().take(progress, best=self._best_weights)

    def load_state(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` gave, in this trainer instead of its own.

        The model and the training must be configured as they were, but for the number of steps
        and how often to checkpoint.

        Raises:
            ValueError: another version, a field configured otherwise, or a tensor that is missing
                or of another shape; by name, and before anything is changed.
        """
        meta = _of_this_version(meta)
        free = {name: getattr(self.config, name) for name in ("steps", "checkpoint_every")}
        meta = {**meta, "training": {**meta["training"], **free}}
        self._best_weights = self._state().put_back(tensors, meta, "best")["best"]
        self.step = meta["step"]
        self._loss_sum, self._num_losses = meta["loss_sum"], meta["num_losses"]
        self.history = [Validation.from_json(entry) for entry in meta["history"]]

    def _state(self) -> TrainerState:
        return TrainerState(
            version=STATE_VERSION,
            model=self.model,
            optimizer=self.optimizer,
            made_with={"model": config_of(self.model), "training": self.configuration},
        )


def _of_this_version(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """A checkpoint of before as one of now: fields that came later had what is their default.

    The first version told one field of the augmentation, beside those of the training.
    """
    training = dict(meta["training"])
    version = STATE_VERSION if meta["version"] == 1 else meta["version"]
    if meta["version"] == 1:
        training["augmentation"] = {"remix_probability": training.pop("remix_probability")}
    defaults = config_to_json(StreamConfig(crop_samples=1)) | config_to_json(TrainingConfig())
    training["augmentation"] = defaults["augmentation"] | training["augmentation"]
    return {**meta, "version": version, "training": defaults | training}
