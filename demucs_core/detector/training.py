"""Fit a detector to labelled songs, so that a killed run continues as if it had not been.

Shapes: B batch, S sources, F frames.

The trainer opens no file: examples come through a reader, its state goes out as flat tensors and
a JSON object. Step n of a run sees the examples of (seed, n), whatever came before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from demucs_core.configuration import config_to_json
from demucs_core.detector.batches import by_processes, by_threads
from demucs_core.detector.config import SilenceDetector, TrainedDetector
from demucs_core.detector.examples import Batch, ExampleSource
from demucs_core.detector.fit_config import DetectorTrainingConfig
from demucs_core.detector.registry import detector_to_json, parse_detector_config
from demucs_core.trainer_state import TrainerState, Weights

STATE_VERSION = 1
"""Version of what ``DetectorTrainer.state`` gives."""


@dataclass(frozen=True, kw_only=True)
class DetectorStep:
    """What one step of a fit did.

    Attributes:
        step: steps done, this one included.
        num_steps: steps of the whole run.
        loss: loss of the step's batch, before the step.
    """

    step: int
    num_steps: int
    loss: float


class DetectorTrainer:
    """AdamW on balanced cross-entropy, examples made ahead, resumable.

    Args:
        detector: what is fitted, in place.
        config: how.
        examples: where examples come from.
        device: where to train.
        num_threads: threads that make examples.
        num_processes: processes that make them in place of the threads, for a GPU that learns from
            them faster than threads, which wait for each other, can make them.

    Raises:
        ValueError: the detector is made of a separator, and not trained.
    """

    def __init__(
        self,
        detector: SilenceDetector,
        config: DetectorTrainingConfig,
        examples: ExampleSource,
        *,
        device: str | torch.device = "cpu",
        num_threads: int = 1,
        num_processes: int = 0,
    ) -> None:
        if not isinstance(detector, TrainedDetector):
            raise ValueError("a detector that is made of a separator is not trained")
        self.detector = detector.to(device)
        self.config = config
        self.examples = examples
        self.step = 0
        self.losses: list[float] = []
        self._device = torch.device(device)
        self._num_threads = max(1, num_threads)
        self._num_processes = num_processes
        self._optimizer = torch.optim.AdamW(
            detector.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def run(
        self,
        *,
        stop: Callable[[], bool] | None = None,
        on_step: Callable[[DetectorStep], None] | None = None,
    ) -> bool:
        """Train to the last step, or until stopped; the detector is then in evaluation mode.

        Args:
            stop: asked before each step whether to stop there.
            on_step: told of each step.

        Returns:
            Whether the last step was reached.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        with closing(self._batches()) as batches:
            try:
                while self.step < self.config.steps:
                    if stop is not None and stop():
                        return False
                    loss = self._train_step(*next(batches))
                    self.losses.append(loss)
                    self.step += 1
                    if on_step is not None:
                        told = DetectorStep(step=self.step, num_steps=self.config.steps, loss=loss)
                        on_step(told)
                return True
            finally:
                self.detector.eval()

    def _batches(self) -> Generator[Batch]:
        """Batches of the steps that are left, in their order."""
        steps = range(self.step, self.config.steps)
        if self._num_processes:
            return by_processes(self.examples, steps, self._num_processes)
        return by_threads(self.examples, steps, self._num_threads)

    def _train_step(self, inputs: Tensor, silent: Tensor, known: Tensor) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate_factor(self.step, self.config.steps)
        self.detector.train()
        self._optimizer.zero_grad(set_to_none=True)
        logits = self.detector.score_inputs(inputs.to(self._device))
        loss = silence_loss(
            logits,
            silent.to(self._device),
            self.config.false_silent_weight,
            None if known.all() else known.to(self._device),
        )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the detector's loss is {value} at step {self.step + 1}: look for NaN in the "
                "labelled audio, or lower learning_rate"
            )
        torch.autograd.backward(loss)
        self._optimizer.step()
        return value

    @property
    def configuration(self) -> dict[str, Any]:
        """How examples and steps are made, JSON-able, as checkpoints and descriptions tell it."""
        return config_to_json(self.examples.config) | config_to_json(self.config)

    def state(self) -> tuple[Weights, dict[str, Any]]:
        """All it takes to continue: CPU tensors by name, and what JSON can hold."""
        return self._state().take({"step": self.step, "losses": list(self.losses)})

    def load_state(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` gave, in this trainer instead of its own.

        Raises:
            ValueError: another version or configuration, or a tensor that is missing or of another
                shape; by name, and before anything is changed.
        """
        # as this version tells it, if it was another one that wrote it
        then = detector_to_json(parse_detector_config(meta["detector"]))
        self._state().put_back(tensors, {**meta, "detector": then})
        self.step = meta["step"]
        self.losses = list(meta["losses"])

    def _state(self) -> TrainerState:
        return TrainerState(
            version=STATE_VERSION,
            model=self.detector,
            optimizer=self._optimizer,
            made_with={
                "detector": detector_to_json(self.detector.config),
                "training": self.configuration,
            },
        )


def silence_loss(
    logits: Tensor,
    silent: Tensor,
    false_silent_weight: float = 1.0,
    known: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of log-odds ``(B, S, F)`` with silence ``(B, S, F)`` bool, balanced: a scalar.

    In each source, silent and active frames of the batch weigh the same in sum, however rare
    either is (down to a twentieth). Then the mean over sources.

    Args:
        logits: log-odds of silence.
        silent: the truth.
        false_silent_weight: active frames weigh so many times as much.
        known: of which sources the truth is known, ``(B, S)`` bool; the others count nowhere. All,
            if not given.
    """
    target = silent.to(logits.dtype)
    if known is None:
        share = target.mean(dim=(0, 2), keepdim=True)
    else:
        counts = known[:, :, None].to(logits.dtype).expand_as(target)
        share = (target * counts).sum(dim=(0, 2), keepdim=True)
        share = share / counts.sum(dim=(0, 2), keepdim=True).clamp(min=1)
    share = share.clamp(0.05, 0.95)
    weight = torch.where(silent, 0.5 / share, false_silent_weight * 0.5 / (1.0 - share))
    if known is None:
        return F.binary_cross_entropy_with_logits(logits, target, weight=weight)
    total = F.binary_cross_entropy_with_logits(
        logits, target, weight=weight * counts, reduction="sum"
    )
    return total / counts.sum().clamp(min=1)


def rate_factor(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then half a cosine."""
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
