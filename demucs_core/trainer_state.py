"""The state of a training run as flat tensors by name and a JSON object, which any format can hold.

``model.<weight>`` are the model's weights, ``<kept>.<weight>`` copies that the trainer keeps (the
best ones), ``adam.<moment>.<weight>`` what the optimiser remembers (absent before the first step).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


def copy_to_cpu(tensor: Tensor) -> Tensor:
    """Copy a tensor to the CPU, contiguous and with memory of its own."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def copy_weights(model: nn.Module) -> Weights:
    """Copy a model's weights to the CPU."""
    return {name: copy_to_cpu(value) for name, value in model.state_dict().items()}


@dataclass(frozen=True, kw_only=True)
class TrainerState:
    """Takes the state of a model and its optimiser, and puts it back.

    Attributes:
        version: of what the trainer keeps.
        model: what is trained.
        optimizer: an Adam or AdamW over those of its parameters that are trained.
        made_with: what the run is configured with, JSON-able, by what it configures. A run is
            continued with what it was begun with.
    """

    version: int
    model: nn.Module
    optimizer: torch.optim.Adam
    made_with: Mapping[str, Mapping[str, object]]

    def take(
        self, progress: Mapping[str, Any], **kept: Mapping[str, Tensor]
    ) -> tuple[Weights, dict[str, Any]]:
        """Return all it takes to continue: tensors by name, and what JSON can hold.

        The tensors are copies on the CPU, contiguous, none sharing memory.

        Args:
            progress: how far the trainer is, JSON-able.
            kept: further weights of the model, by name.
        """
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for prefix, weights in kept.items():
            tensors |= {f"{prefix}.{name}": value for name, value in weights.items()}
        still = []
        for name, parameter in self._trained().items():
            moments = self.optimizer.state.get(parameter, {})
            if self.optimizer.state and not moments:
                still.append(name)  # no estimate depends on it, so that it has no gradient
            for moment, value in moments.items():
                tensors[f"adam.{moment}.{name}"] = value
        meta = {"version": self.version, **self.made_with, **progress}
        if still:
            meta["without_moments"] = still
        return {name: copy_to_cpu(value) for name, value in tensors.items()}, meta

    def put_back(
        self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], *kept: str
    ) -> dict[str, Weights]:
        """Put model and optimiser back to what :meth:`take` copied, from any device.

        Returns:
            The further weights of those names, copied.

        Raises:
            ValueError: another version, something configured otherwise, or a tensor that is missing
                or of another shape; by name, and before anything is changed.
        """
        if meta["version"] != self.version:
            raise ValueError(
                f"the checkpoint has version {meta['version']}, this code reads {self.version}"
            )
        for what, now in self.made_with.items():
            _check_same(what, meta[what], now)
        weights, parameters = self.model.state_dict(), self._trained()
        moments = sorted({name.split(".")[1] for name in tensors if name.startswith("adam.")})
        expected = {
            f"{prefix}.{name}": value.shape
            for prefix in ("model", *kept)
            for name, value in weights.items()
        }
        still = frozenset(meta.get("without_moments", ()))
        for moment in moments:
            for name, value in parameters.items():
                if name in still:
                    continue
                # Adam counts steps for each weight, in a scalar.
                shape = torch.Size() if moment == "step" else value.shape
                expected[f"adam.{moment}.{name}"] = shape
        _check_shapes(tensors, expected)
        self.model.load_state_dict({name: tensors[f"model.{name}"] for name in weights})
        adam = self.optimizer.state_dict()
        adam["state"] = {
            index: {moment: copy_to_cpu(tensors[f"adam.{moment}.{name}"]) for moment in moments}
            for index, name in enumerate(parameters)
            if moments and name not in still
        }
        self.optimizer.load_state_dict(adam)
        return {
            prefix: {name: copy_to_cpu(tensors[f"{prefix}.{name}"]) for name in weights}
            for prefix in kept
        }

    def _trained(self) -> dict[str, nn.Parameter]:
        """The parameters that the optimiser moves, in its order."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return {
            names[id(parameter)]: parameter
            for group in self.optimizer.param_groups
            for parameter in group["params"]
        }


def _check_same(what: str, then: Mapping[str, object], now: Mapping[str, object]) -> None:
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            raise ValueError(
                f"the checkpoint was made with {what} {name} {then.get(name)!r}, "
                f"not {now.get(name)!r}"
            )


def _check_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    for name, shape in expected.items():
        if name not in tensors:
            raise ValueError(f"the checkpoint has no tensor {name}")
        if tensors[name].shape != shape:
            raise ValueError(
                f"the checkpoint has shape {tuple(tensors[name].shape)} for {name}, "
                f"expected {tuple(shape)}"
            )
