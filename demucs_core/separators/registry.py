"""The separation models by name: the one place where an architecture's name means a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, Final, TypeAlias, TypeVar

import torch

from demucs_core.separators.demucs import Demucs, DemucsConfig
from demucs_core.separators.wave_unet import WaveUNet, WaveUNetConfig

SeparationModel: TypeAlias = Demucs | WaveUNet
"""A module that maps mixtures ``(B, C, T)`` to estimates ``(B, S, C, T)``."""

Model = TypeVar("Model", Demucs, WaveUNet)

ARCHITECTURES: Final = ("demucs", "wave_unet")
"""Every name that :func:`build_model` knows."""


def build_model(config: Mapping[str, object], *, seed: int | None = None) -> SeparationModel:
    """Build the model that a JSON object describes, with fresh weights.

    Args:
        config: ``architecture`` and any fields of that architecture's configuration; what is left
            out has its default.
        seed: decides the initial weights, and leaves torch's global generator as it was. Without
            one, the weights come from the global generator.

    Raises:
        ValueError: an unknown architecture or field, or a value a field can't have, by name.

    >>> model = build_model({"architecture": "demucs", "channels": 4, "depth": 2}, seed=0)
    >>> config_of(model)["stride"]
    4
    """
    values = dict(config)
    name = values.pop("architecture", None)
    if name == "demucs":
        demucs = DemucsConfig(**_checked(DemucsConfig, values))
        return _seeded(lambda: Demucs(demucs), seed)
    if name == "wave_unet":
        wave_unet = WaveUNetConfig(**_checked(WaveUNetConfig, values))
        return _seeded(lambda: WaveUNet(wave_unet), seed)
    raise ValueError(f"architecture {name!r} is unknown; known are {', '.join(ARCHITECTURES)}")


def config_of(model: SeparationModel) -> dict[str, Any]:
    """Describe a model as the JSON object that :func:`build_model` builds it from."""
    name = "demucs" if isinstance(model, Demucs) else "wave_unet"
    values = asdict(model.config)
    return {"architecture": name, **values, "sources": list(model.config.sources)}


def _checked(
    kind: type[DemucsConfig] | type[WaveUNetConfig], values: Mapping[str, object]
) -> dict[str, Any]:
    """Return JSON values as the arguments of a configuration, each of its field's type."""
    defaults = {field.name: field.default for field in fields(kind)}
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in defaults:
            raise ValueError(f"{kind.__name__} has no field {name!r}; it has {', '.join(defaults)}")
        default = defaults[name]
        if isinstance(default, tuple):
            if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
                raise ValueError(f"{name} must be a list of names, not {value!r}")
            arguments[name] = tuple(value)
            continue
        # JSON writes 2.0 as 2, so a whole number will do for a float; a boolean never does.
        allowed = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, allowed) or isinstance(value, bool) != isinstance(default, bool):
            raise ValueError(f"{name} must be of type {type(default).__name__}, not {value!r}")
        arguments[name] = value
    return arguments


def _seeded(build: Callable[[], Model], seed: int | None) -> Model:
    """Build with torch's CPU generator seeded, then put the generator back."""
    if seed is None:
        return build()
    # The layers of torch.nn draw their first weights from the global generator and take no other.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()
