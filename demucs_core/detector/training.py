"""Fit a detector to labelled songs, so that a killed run continues as if it had not been.

Shapes: B batch, S sources, F frames.

The trainer opens no file: examples come through a reader, its state goes out as flat tensors and
a JSON object. Step n of a run sees the examples of (seed, n), whatever came before.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from demucs_core.activity import ActivityConfig
from demucs_core.detector.augmentation import AugmentationConfig
from demucs_core.detector.examples import ExampleSource, ReadAudio, TrainingSong
from demucs_core.detector.registry import SilenceDetector, detector_config

STATE_VERSION = 1
"""Version of what `DetectorTrainer.state` gives."""


@dataclass(frozen=True, kw_only=True)
class DetectorTrainingConfig:
    """Everything about a fit that decides its result, beside the detector and the songs."""

    steps: int = 6000
    """Optimiser steps."""
    batch_size: int = 6
    """Examples a step."""
    crop_s: float = 12.0
    """Length of an example (seconds), rounded to frames: about what a detector hears of a song
    before and after a frame."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW: reached after a twentieth of the steps, then down to zero
    along a cosine."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    false_silent_weight: float = 1.0
    """Weight of an active frame against a silent one in the loss: above 1, calling silent what
    sounds costs more than the opposite."""
    seed: int = 0
    """Decides the examples, and the initial weights where the caller uses it for them."""
    activity: ActivityConfig = field(default_factory=ActivityConfig)
    """What counts as sounding."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """How examples differ from the songs."""

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be 1 or more")
        for name in ("crop_s", "learning_rate", "false_silent_weight"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class DetectorStep:
    """What one step of a fit did."""

    step: int
    """Steps done, this one included."""
    num_steps: int
    """Steps of the whole run."""
    loss: float
    """Loss of the step's batch, before the step."""


class DetectorTrainer:
    """AdamW on balanced cross-entropy, examples made ahead in threads, resumable.

    `detector` is changed in place. Raises `ValueError` where songs don't fit it.
    """

    def __init__(
        self,
        detector: SilenceDetector,
        config: DetectorTrainingConfig,
        songs: Sequence[TrainingSong],
        read: ReadAudio,
        *,
        device: str | torch.device = "cpu",
        num_threads: int = 1,
    ) -> None:
        self.detector = detector.to(device)
        self.config = config
        self.step = 0
        self.losses: list[float] = []
        self._device = torch.device(device)
        self._num_threads = max(1, num_threads)
        frame_rate = detector.config.sample_rate / detector.config.hop_samples
        self._examples = ExampleSource(
            songs=songs,
            read=read,
            detector=detector.config,
            crop_frames=max(1, round(config.crop_s * frame_rate)),
            activity=config.activity,
            augmentation=config.augmentation,
        )
        self._optimizer = torch.optim.AdamW(
            detector.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def run(
        self,
        *,
        stop: Callable[[], bool] | None = None,
        on_step: Callable[[DetectorStep], None] | None = None,
    ) -> bool:
        """Train to the last step; whether it got there (`stop`, asked before each, can say no).

        Leaves the detector in evaluation mode. Raises `FloatingPointError` where the loss is not
        finite.
        """
        steps = self.config.steps
        ahead: deque[Future[tuple[Tensor, Tensor, Tensor]]] = deque()
        pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix="detector-examples")
        try:
            while self.step < steps:
                if stop is not None and stop():
                    return False
                while len(ahead) < self._num_threads + 1 and self.step + len(ahead) < steps:
                    ahead.append(pool.submit(self._batch, self.step + len(ahead)))
                loss = self._train_step(*ahead.popleft().result())
                self.losses.append(loss)
                self.step += 1
                if on_step is not None:
                    on_step(DetectorStep(step=self.step, num_steps=steps, loss=loss))
            return True
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self.detector.eval()

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        return self._examples.batch(self.config.batch_size, self.config.seed, step)

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

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All it takes to continue: CPU tensors by name, and what JSON can hold."""
        tensors = {f"model.{name}": _copy(t) for name, t in self.detector.state_dict().items()}
        for name, parameter in self.detector.named_parameters():
            for moment, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{moment}.{name}"] = _copy(value)
        meta = {
            "version": STATE_VERSION,
            "detector": _jsonable(detector_config(self.detector)),
            "training": _jsonable(asdict(self.config)),
            "step": self.step,
            "losses": list(self.losses),
        }
        return tensors, meta

    def load_state(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Continue from what `state` gave, in this trainer instead of its own.

        Raises `ValueError` for another version or configuration, or a tensor that is missing or
        has another shape, before anything is changed.
        """
        if meta["version"] != STATE_VERSION:
            raise ValueError(
                f"the detector's checkpoint has version {meta['version']}, "
                f"this code reads {STATE_VERSION}"
            )
        for what, now in (
            ("detector", _jsonable(detector_config(self.detector))),
            ("training", _jsonable(asdict(self.config))),
        ):
            then = meta[what]
            changed = sorted(n for n in then.keys() | now.keys() if then.get(n) != now.get(n))
            if changed:
                raise ValueError(
                    f"the checkpoint was made with another {what} configuration: "
                    f"{', '.join(changed)} differ"
                )
        weights = self.detector.state_dict()
        parameters = dict(self.detector.named_parameters())
        moments = sorted({name.split(".")[1] for name in tensors if name.startswith("adam.")})
        wanted = {f"model.{name}": value.shape for name, value in weights.items()}
        for moment in moments:
            for name, value in parameters.items():
                shape = torch.Size() if moment == "step" else value.shape
                wanted[f"adam.{moment}.{name}"] = shape
        for name, shape in wanted.items():
            if name not in tensors or tensors[name].shape != shape:
                raise ValueError(f"the checkpoint has no tensor {name} of shape {tuple(shape)}")
        self.detector.load_state_dict({name: tensors[f"model.{name}"] for name in weights})
        state = self._optimizer.state_dict()
        state["state"] = {
            index: {moment: tensors[f"adam.{moment}.{name}"].clone() for moment in moments}
            for index, name in enumerate(parameters)
            if moments
        }
        self._optimizer.load_state_dict(state)
        self.step = meta["step"]
        self.losses = list(meta["losses"])


def silence_loss(
    logits: Tensor,
    silent: Tensor,
    false_silent_weight: float = 1.0,
    known: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of log-odds ``(B, S, F)`` with silence ``(B, S, F)`` bool, balanced: a scalar.

    In each source, silent and active frames of the batch weigh the same in sum, however rare
    either is (down to a twentieth); active ones `false_silent_weight` times that. Then the mean
    over sources. Where ``known`` ``(B, S)`` bool is given, what is not known counts nowhere.
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


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _jsonable(value: Any) -> Any:
    """As it comes back from JSON: tuples are lists there."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value
