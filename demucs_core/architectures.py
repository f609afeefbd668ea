"""Kinds of network by name: the class that configures each, and what builds it.

There are two registries, :data:`demucs_core.separators.registry.SEPARATORS` and
:data:`demucs_core.detector.registry.DETECTORS`. A new network is a module with a configuration and
a class, and its row there. A row names both as text, and they are imported when they are asked for:
whoever wants to know which architectures there are does not wait for torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from demucs_core.configuration import config_to_json, parse_config

if TYPE_CHECKING:
    from torch import nn

Config = TypeVar("Config")
Network = TypeVar("Network", bound="nn.Module")

MOST_LAYERS = 256


@dataclass(frozen=True, kw_only=True)
class Architecture(Generic[Config, Network]):
    """A row of a registry.

    Attributes:
        name: what options and descriptions call it.
        module: where both of the next are.
        config_name: its configuration, a frozen dataclass; no two rows share one.
        network_name: makes a network of a configuration. What needs an optional package imports it
            there.
        extra: of silentmix, that brings the package it needs; empty if it needs none.
        version: raised when the same configuration means another network than before.
    """

    name: str
    module: str
    config_name: str
    network_name: str
    extra: str = ""
    version: int = 1

    @property
    def config(self) -> type[Config]:
        """Its configuration."""
        found: type[Config] = getattr(import_module(self.module), self.config_name)
        return found

    @property
    def build(self) -> Callable[[Any], Network]:
        """What makes a network of a configuration."""
        found: Callable[[Any], Network] = getattr(import_module(self.module), self.network_name)
        return found

    @property
    def options(self) -> tuple[str, ...]:
        """The fields of its configuration."""
        return tuple(field.name for field in fields(self.config))  # type: ignore[arg-type]


def as_object(told: object) -> Mapping[str, Any]:
    """What a description says of an architecture.

    Raises:
        ValueError: it is no JSON object.
    """
    if not isinstance(told, Mapping):
        raise ValueError(f"a configuration is an object of JSON, not {told!r:.40}")
    return told


class Registry(Generic[Config, Network]):
    """Architectures of one kind.

    Args:
        kind: what they are, for messages.
        rows: the architectures, in the order they are told in.
    """

    def __init__(self, kind: str, *rows: Architecture[Config, Network]) -> None:
        self.kind = kind
        self.rows = rows
        assert len(set(self)) == len(rows)
        assert len({(row.module, row.config_name) for row in rows}) == len(rows)

    def __iter__(self) -> Iterator[str]:
        return (row.name for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: object) -> bool:
        return any(row.name == name for row in self.rows)

    def __getitem__(self, name: object) -> Architecture[Config, Network]:
        """The architecture of a name.

        Raises:
            ValueError: there is none; the message lists those there are.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(
            f"{self.kind} architecture {name!r} is unknown; known are {', '.join(self)}"
        )

    def of(self, config: Config) -> Architecture[Config, Network]:
        """The architecture that a configuration is for."""
        kind = type(config)
        configs = {(row.module, row.config_name): row for row in self.rows}
        return configs[kind.__module__, kind.__qualname__]

    def parse(self, values: Mapping[str, object]) -> Config:
        """Read a configuration from a JSON object: ``architecture``, and the fields of its class.

        Raises:
            ValueError: an unknown architecture or field, one that is missing, or a value that a
                field can't have, by name.
        """
        rest = dict(values)
        row = self[rest.pop("architecture", None)]
        config = parse_config(row.config, rest, row.name)
        _check_layers(config)
        return config

    def to_json(self, config: Config) -> dict[str, Any]:
        """Write what :meth:`parse` reads."""
        return {"architecture": self.of(config).name, **config_to_json(config)}

    def build(self, config: Config, *, seed: int | None = None) -> Network:
        """Build a network with fresh weights.

        Args:
            config: what to build.
            seed: decides the weights, and leaves torch's global generator as it was. Without one,
                they come from the global generator.
        """
        build = self.of(config).build
        if seed is None:
            return build(config)
        import torch

        # The layers of torch.nn draw their first weights from the global generator and take no
        # other.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return build(config)


def _check_layers(config: object) -> None:
    """Refuse more layers than anybody would have built: building them alone takes minutes.

    Raises:
        ValueError: a field that counts or lists them holds too many, by name.
    """
    assert is_dataclass(config)
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, tuple):
            value = len(value)
        elif not field.name.endswith(("depth", "layers")):
            continue
        if value > MOST_LAYERS:
            raise ValueError(f"{field.name} must be at most {MOST_LAYERS}, not {value}")
