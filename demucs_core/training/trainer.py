"""Train a separation model on a stream of examples, so that a killed run continues bit for bit.

Shape legend: B batch, S sources, C audio channels, T samples of a crop.

The trainer opens no file: it hands out its state as flat tensors and a JSON object, takes both
back, and says when it would like to be saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from demucs_core.configuration import config_to_json
from demucs_core.separators.registry import config_of
from demucs_core.separators.separator import SeparationModel
from demucs_core.trainer_state import TrainerState, Weights
from demucs_core.training.averages import WeightAverages
from demucs_core.training.best_weights import BestWeights
from demucs_core.training.divergence import DivergedError, LossWatch
from demucs_core.training.examples import Example
from demucs_core.training.optimization import Optimization, StepFigures
from demucs_core.training.randomness import drawn_from
from demucs_core.training.ranks import ALONE, Ranks
from demucs_core.training.rates import rate_at
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.training_config import Execution, TrainingConfig
from demucs_core.training.validation import Validation, ValidationCrop

STATE_VERSION = 2
"""Version of what :meth:`Trainer.state` gives."""
FREE = ("steps", "patience", "checkpoint_every")
"""What may be another in a run that is continued."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one optimiser step did.

    Attributes:
        step: optimiser steps done, this one included.
        num_steps: of the whole run.
        num_examples: that the step learned from, in all processes.
        figures: what the step showed.
        wait_s: time that the step waited for its examples.
        step_s: time that it took in all, without a validation.
        validation: the validation after this step, if it was due.
    """

    step: int
    num_steps: int
    num_examples: int
    figures: StepFigures
    wait_s: float
    step_s: float
    validation: Validation | None

    @property
    def loss(self) -> float:
        """The loss of this step's batch, before the step."""
        return self.figures.loss

    @property
    def examples_per_s(self) -> float:
        """Throughput of this step."""
        return self.num_examples / self.step_s


class Trainer:
    """Adam or AdamW on the grouped L1 loss, with validation, the best weights kept, and resuming.

    Args:
        model: what to train, moved to the device and changed in place.
        config: see :class:`TrainingConfig`.
        examples: by index; example i may depend on nothing but i, or else a resumed run differs.
        validation: crops, all of one shape, the same at every start of the run. May be empty: then
            the best weights are those with the lowest training loss.
        execution: see :class:`Execution`.
        ranks: this process among those that train the model together; each has a trainer of the
            same configuration, and :meth:`share_state` before :meth:`run`.

    Attributes:
        rate_share: what every learning rate is multiplied with; lower after the training diverged.

    Raises:
        ValueError: :class:`Optimization` or :class:`BestWeights` refuse the configuration, or the
            processes can't share a batch evenly.
    """

    def __init__(
        self,
        model: SeparationModel,
        config: TrainingConfig,
        examples: ExampleStream,
        validation: Sequence[ValidationCrop],
        *,
        execution: Execution | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.execution, self.ranks = execution or Execution(), ranks
        own_size, left = divmod(examples.config.batch_size, ranks.size)
        if left:
            raise ValueError(
                f"batch_size {examples.config.batch_size} can't be shared evenly by {ranks.size} "
                "processes; take a multiple of their number"
            )
        self.device = torch.device(self.execution.device)
        self.model = model.to(self.device)
        self.config = config
        self.examples = examples
        self.optimization = Optimization(self.model, config, self.execution, ranks)
        self.averages = WeightAverages(self.model, config.ema_decays)
        self.best_so_far = BestWeights(
            self.model,
            self.averages,
            validation,
            config,
            batch_size=-(-own_size // self.execution.accumulation),
            ranks=ranks,
        )
        self.watch = LossWatch()
        self.step = 0
        self.rate_share = 1.0
        self._loss_sum = 0.0
        self._num_losses = 0

    @property
    def history(self) -> list[Validation]:
        """The validations so far."""
        return self.best_so_far.history

    @property
    def best(self) -> Validation | None:
        """The best validation so far."""
        return self.best_so_far.best

    def best_weights(self) -> dict[str, Tensor]:
        """Return a copy on the CPU of the weights of the best validation, or of the first ones."""
        return {name: value.clone() for name, value in self.best_so_far.weights.items()}

    @property
    def done(self) -> bool:
        """Whether no step is left, or none is worth it any more."""
        return self.step >= self.config.steps or self.best_so_far.out_of_patience

    def run(
        self,
        *,
        stop: Callable[[], bool] | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        on_checkpoint: Callable[[], None] | None = None,
    ) -> bool:
        """Train from where it is to the last step, or until patience is at its end.

        Args:
            stop: asked before each step; once it says so, the run ends there, in all processes.
            on_step: told of each step.
            on_checkpoint: called when a checkpoint is due, and when the run was stopped; it should
                save what :meth:`state` gives.

        Returns:
            Whether the training is done.

        Raises:
            DivergedError: with the number of the step. Go back to the last checkpoint, and lower
                :attr:`rate_share`.
            OutOfMemoryError: with what would fit.
        """
        config = self.config
        began = time.perf_counter()
        # The next is made while all wait for each other; none is under way when the run has ended.
        with closing(self._batches()) as batches:
            while not self.done:
                batch = next(batches)
                if self.ranks.any(stop is not None and stop()):
                    if on_checkpoint is not None:
                        on_checkpoint()
                    return False
                waited = time.perf_counter()
                figures = self._train_step(batch)
                ended = time.perf_counter()
                validation = None
                if self.step % config.validate_every == 0:
                    validation = self._validate()
                elif self.step == config.steps:
                    # What was learned ends here, and a longer run goes on from here.
                    if on_checkpoint is not None:
                        on_checkpoint()
                    validation = self._validate()
                if on_step is not None:
                    on_step(
                        StepReport(
                            step=self.step,
                            num_steps=config.steps,
                            num_examples=self.examples.config.batch_size,
                            figures=figures,
                            wait_s=waited - began,
                            step_s=ended - began,
                            validation=validation,
                        )
                    )
                began = time.perf_counter()
                due = self.step % config.checkpoint_every == 0 and self.watch.calm
                scheduled = self.step % config.validate_every == 0
                if on_checkpoint is not None and (scheduled if self.done else due):
                    on_checkpoint()
        if not self.history or self.history[-1].step < self.step:
            self._validate()
        return True

    def _batches(self) -> Generator[Example]:
        """The batches of the steps that are left."""
        return self.examples.batches(
            self.step,
            self.config.steps,
            num_workers=self.execution.num_workers,
            pin_memory=self.device.type == "cuda",
            rank=self.ranks.rank,
            num_ranks=self.ranks.size,
        )

    def _train_step(self, batch: Example) -> StepFigures:
        """Take one step on a batch."""
        batch = Example(*(value.to(self.device, non_blocking=True) for value in batch))
        batch = self._augmented(batch)
        self.model.train()
        rate = self.rate_share * rate_at(self.step, self.config, self.best_so_far.improved)
        try:
            num_weak = self.ranks.num_own(self.examples.num_weak_at(self.step))
            with drawn_from(self.device, self.examples.config.seed, self.step, self.ranks.rank):
                figures = self.optimization.step(batch, rate, num_weak)
            self.watch.add(figures.loss)
        except DivergedError as error:
            raise type(error)(
                f"{error} at step {self.step + 1} of {self.config.steps}; look for NaN in the "
                "audio, or lower learning_rate"
            ) from error
        self.step += 1
        self.averages.update(self.step)
        self._loss_sum += figures.loss
        self._num_losses += 1
        return figures

    def _augmented(self, batch: Example) -> Example:
        """Change a batch; a whole one, since its examples may be mixed with each other."""
        if self.examples.config.batch_augmentation.is_off:
            return batch
        whole = Example(*map(self.ranks.whole, batch))
        changed = self.examples.augmented(whole, self.step)
        return Example(*(value[self.ranks.own] for value in changed))

    def _validate(self) -> Validation:
        """Measure the weights, and keep the best if none was as good."""
        train_loss = self._loss_sum / self._num_losses
        self._loss_sum, self._num_losses = 0.0, 0
        return self.best_so_far.validate(self.step, train_loss)

    @property
    def configuration(self) -> dict[str, Any]:
        """How examples and steps are made, JSON-able, as checkpoints and descriptions tell it."""
        return config_to_json(self.examples.config) | config_to_json(self.config)

    def state(self) -> tuple[Weights, dict[str, Any]]:
        """Return all it takes to continue: tensors by name, and what JSON can hold.

        The tensors are copies on the CPU, contiguous, none sharing memory: ``model.*``,
        ``best.*``, ``average_<n>.*``, and ``adam.<moment>.*`` once a step was taken.
        """
        progress = {
            "step": self.step,
            "loss_sum": self._loss_sum,
            "num_losses": self._num_losses,
            "history": self.best_so_far.state(),
            "optimization": self.optimization.state(),
            "watch": self.watch.state(),
            "rate_share": self.rate_share,
        }
        averages = {name: self.averages.copies(decay) for name, decay in self._kept_averages}
        return self._state().take(progress, best=self.best_so_far.weights, **averages)

    def load_state(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` gave, in this trainer instead of its own.

        The model and the training must be configured as they were, but for the number of steps,
        the patience, and how often to checkpoint.

        Raises:
            ValueError: another version, a field configured otherwise, or a tensor that is missing
                or of another shape; by name, and before anything is changed.
        """
        meta = _of_this_version(meta)
        free = {name: getattr(self.config, name) for name in FREE}
        meta = {**meta, "training": {**meta["training"], **free}}
        names = [name for name, _ in self._kept_averages]
        kept = self._state().put_back(tensors, meta, "best", *names)
        self.best_so_far.load_state(meta["history"], kept["best"])
        for name, decay in self._kept_averages:
            self.averages.put_back(decay, kept[name])
        self.optimization.load_state(meta.get("optimization", {}))
        self.watch = LossWatch(**meta.get("watch", {}))
        self.rate_share = meta.get("rate_share", 1.0)
        self.step = meta["step"]
        self._loss_sum, self._num_losses = meta["loss_sum"], meta["num_losses"]

    def share_state(self) -> None:
        """Take over the state of the first process: all call it before they run, and run again."""
        if self.ranks.alone:
            return
        tensors, meta = self.state() if self.ranks.is_first else ({}, None)
        told = self.ranks.told(meta), self.ranks.told_tensors(tensors)
        if not self.ranks.is_first:
            self.load_state(told[1], told[0])

    @property
    def _kept_averages(self) -> list[tuple[str, float]]:
        """What the averages are called in the state, with their decays."""
        return [(f"average_{place}", decay) for place, decay in enumerate(self.averages.decays)]

    def _state(self) -> TrainerState:
        return TrainerState(
            version=STATE_VERSION,
            model=self.model,
            optimizer=self.optimization.optimizer,
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
