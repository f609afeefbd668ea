"""The state of a training run as flat tensors by name, which any format can hold.

``model.<weight>`` and ``best.<weight>`` are the model as it is and as it was best,
``adam.<moment>.<weight>`` what the optimiser remembers (absent before the first step).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def copy_to_cpu(tensor: Tensor) -> Tensor:
    """Copy a tensor to the CPU, contiguous and with memory of its own."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def flatten_state(
    model: nn.Module, optimizer: torch.optim.Adam, best_weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Copy everything to the CPU, under flat names."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best_weights.items()}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"adam.{moment}.{name}"] = value
    return {name: copy_to_cpu(value) for name, value in tensors.items()}


def restore_state(
    tensors: Mapping[str, Tensor], model: nn.Module, optimizer: torch.optim.Adam
) -> dict[str, Tensor]:
    """Put model and optimiser back to what :func:`flatten_state` copied, from any device.

    Returns:
        The best weights, copied.

    Raises:
        ValueError: a tensor that is missing or of another shape, by name, before anything is
            changed.
    """
    weights = model.state_dict()
    parameters = dict(model.named_parameters())
    moments = sorted({name.split(".")[1] for name in tensors if name.startswith("adam.")})
    expected = {
        f"{prefix}.{name}": value.shape
        for prefix in ("model", "best")
        for name, value in weights.items()
    }
    for moment in moments:
        for name, value in parameters.items():
            # Adam counts steps for each weight, in a scalar.
            shape = torch.Size() if moment == "step" else value.shape
            expected[f"adam.{moment}.{name}"] = shape
    for name, shape in expected.items():
        if name not in tensors:
            raise ValueError(f"the checkpoint has no tensor {name}")
        if tensors[name].shape != shape:
            raise ValueError(
                f"the checkpoint has shape {tuple(tensors[name].shape)} for {name}, "
                f"expected {tuple(shape)}"
            )
    model.load_state_dict({name: tensors[f"model.{name}"] for name in weights})
    adam = optimizer.state_dict()
    adam["state"] = {
        index: {moment: copy_to_cpu(tensors[f"adam.{moment}.{name}"]) for moment in moments}
        for index, name in enumerate(parameters)
        if moments
    }
    optimizer.load_state_dict(adam)
    return {name: copy_to_cpu(tensors[f"best.{name}"]) for name in weights}


def check_same(what: str, then: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Check that a checkpoint was made with the configuration that continues it.

    Raises:
        ValueError: the first field that differs, with both values.
    """
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            raise ValueError(
                f"the checkpoint was made with {what} {name} {then.get(name)!r}, "
                f"not {now.get(name)!r}"
            )
