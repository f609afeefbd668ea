"""The best weights of a training so far: the current ones or an average, by the validations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor

from demucs_core.separators.separator import SeparationModel
from demucs_core.trainer_state import copy_weights
from demucs_core.training.averages import WeightAverages
from demucs_core.training.divergence import NonFiniteLossError
from demucs_core.training.optimization import autocast
from demucs_core.training.ranks import ALONE, Ranks
from demucs_core.training.rates import num_waited
from demucs_core.training.training_config import TrainingConfig
from demucs_core.training.validation import CURRENT, Validation, ValidationCrop, measure_crops


class BestWeights:
    """Measures weights on validation crops, and keeps a copy of the best.

    Args:
        model: whose weights, in training.
        averages: of its weights, measured beside them.
        crops: all of one shape. May be empty: then the best weights are those with the lowest
            training loss.
        config: says what is best.
        batch_size: crops that run at once.
        ranks: the processes of the training. The first measures, and tells the others, which need
            no crops, and whose best weights are the first ones.

    Attributes:
        crops: that it measures on.
        history: the validations so far.
        weights: the best ones, or the first before any validation; on the CPU.

    Raises:
        ValueError: the configuration wants crops, and there are none that serve.
    """

    def __init__(
        self,
        model: SeparationModel,
        averages: WeightAverages,
        crops: Sequence[ValidationCrop],
        config: TrainingConfig,
        *,
        batch_size: int,
        ranks: Ranks = ALONE,
    ) -> None:
        if ranks.is_first:
            _require_crops(config, crops)
        self.history: list[Validation] = []
        self.crops = crops
        self.weights = copy_weights(model)
        self._model, self._averages = model, averages
        self._config, self._batch_size, self._ranks = config, batch_size, ranks

    @property
    def best(self) -> Validation | None:
        """The best validation so far."""
        return next((entry for entry in reversed(self.history) if entry.best), None)

    @property
    def improved(self) -> list[bool]:
        """Of each validation, whether none before it was as good."""
        return [entry.best for entry in self.history]

    @property
    def out_of_patience(self) -> bool:
        """Whether the last better validation is too long ago to train on."""
        return 0 < self._config.patience <= num_waited(self.improved)

    def validate(self, step: int, train_loss: float) -> Validation:
        """Measure the current weights and the averages, and keep the best if none was as good.

        Raises:
            NonFiniteLossError: a loss is NaN or infinite.
        """
        entry, trouble = None, ""
        if self._ranks.is_first:
            try:
                entry = self._found(step, train_loss)
            except NonFiniteLossError as error:
                trouble = str(error)
        told, trouble = self._ranks.told((entry.to_json() if entry else None, trouble))
        if trouble:
            raise NonFiniteLossError(trouble)
        entry = Validation.from_json(told)
        self.history.append(entry)
        return entry

    def _found(self, step: int, train_loss: float) -> Validation:
        """Measure all weights; returns what the best of them gave, and keeps them if none was."""
        found = []
        for weights in (CURRENT, *map(str, self._averages.decays)):
            with self._in_place(weights):
                loss, sdr_db = self._measure(train_loss)
            if not math.isfinite(loss):
                raise NonFiniteLossError(f"the validation loss is {loss} after step {step}")
            found.append(
                Validation(
                    step=step,
                    train_loss=train_loss,
                    loss=loss,
                    sdr_db=sdr_db,
                    best=False,
                    weights=weights,
                )
            )
        entry, best = max(found, key=self._goodness), self.best
        if best is None or self._goodness(entry) > self._goodness(best):
            entry = replace(entry, best=True)
            with self._in_place(entry.weights):
                self.weights = copy_weights(self._model)
        return entry

    def state(self) -> list[dict[str, Any]]:
        """The validations so far, JSON-able; the best weights are beside them."""
        return [entry.to_json() for entry in self.history]

    def load_state(self, history: Sequence[dict[str, Any]], weights: Mapping[str, Tensor]) -> None:
        """Undo :meth:`state`; takes ``weights`` as the best ones."""
        self.history = [Validation.from_json(entry) for entry in history]
        self.weights = dict(weights)

    def _measure(self, train_loss: float) -> tuple[float, tuple[float, ...]]:
        """Loss and SDR of the weights that the model has now."""
        if not self.crops:
            return train_loss, ()
        device = next(self._model.parameters()).device
        with autocast(device, self._config.precision):
            return measure_crops(self._model, self.crops, batch_size=self._batch_size)

    @contextmanager
    def _in_place(self, weights: str) -> Iterator[None]:
        """The model with the weights that a validation names, as long as the block lasts."""
        if weights == CURRENT:
            yield
        else:
            with self._averages.in_place_of_the_weights(float(weights)):
                yield

    def _goodness(self, entry: Validation) -> float:
        """What is higher for the better validation."""
        return entry.mean_sdr_db if self._config.best_by == "sdr" else -entry.loss


def _require_crops(config: TrainingConfig, crops: Sequence[ValidationCrop]) -> None:
    """Refuse a configuration that wants other crops than there are."""
    if config.best_by == "sdr" and not any(crop.knows_a_source for crop in crops):
        raise ValueError(
            "best_by sdr needs a validation song that knows a source by itself; hold one out, "
            "or set best_by to loss"
        )
    if config.ema_decays and not crops:
        raise ValueError(
            "ema_decays need validation songs, to find the best of the averages; hold some "
            "out, or give no ema_decays"
        )
