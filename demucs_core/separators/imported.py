"""Anybody's separator: a class that can be imported, named by its module and its arguments.

Shape legend: B batch, S sources, C audio channels, T samples.

Importing a module runs it. So a class that a description names is imported only where whoever asks
for the model names that class too.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from demucs_core.separators.class_path import CLASS_PATH, EXAMPLE
from demucs_core.separators.separator import SeparationModel, SeparatorConfig, WrappedSeparator

FROM_THE_MUSIC: Final = ("sources", "sample_rate", "num_channels")
"""Arguments that a class gets without being asked for, where it takes them."""


class NotAllowedError(ValueError):
    """A description names a class that nobody allowed to be imported."""


@dataclass(frozen=True, kw_only=True)
class ImportedConfig(SeparatorConfig):
    """Which class, and what it is called with.

    Attributes:
        path: ``package.module:Class``.
        version: of its package; where it has none, a hash of the module's source.
        arguments: what it is called with, by name, besides those of ``sources``, ``sample_rate``
            and ``num_channels`` that it takes.

    Raises:
        ValueError: a path that is none.
    """

    path: str
    version: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not CLASS_PATH.fullmatch(self.path):
            raise ValueError(f"{self.path!r} names no class; write it as {EXAMPLE}")


class ImportedSeparator(WrappedSeparator):
    """A separator around an instance of the class: ``(B, C, T)`` to ``(B, S, C, T)``.

    Where the instance has ``valid_length`` or ``longest_segment`` (see
    :class:`~demucs_core.separators.separator.SeparationModel`), separation goes by them.
    """

    config: ImportedConfig

    def __init__(self, config: ImportedConfig) -> None:
        super().__init__()
        self.config = config
        kind = _class_of(config.path)
        taken = inspect.signature(kind).parameters
        music = {name: getattr(config, name) for name in FROM_THE_MUSIC if name in taken}
        try:
            self.net = kind(**music | config.arguments)
        except Exception as error:
            raise ValueError(
                f"{config.path} can't be made of {config.arguments}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def forward(self, mixture: Tensor) -> Tensor:
        """Map mixtures ``(B, C, T)`` to estimates ``(B, S, C, T)``."""
        estimates: Tensor = self.net(mixture)
        return estimates

    def valid_length(self, num_samples: int) -> int:
        """As the instance says, if it says it."""
        told = getattr(self.net, "valid_length", None)
        return int(told(num_samples)) if callable(told) else num_samples

    def longest_segment(self) -> int | None:
        """As the instance says, if it says it."""
        told = getattr(self.net, "longest_segment", None)
        longest = told() if callable(told) else None
        return None if longest is None else int(longest)


def require_allowed(config: ImportedConfig, allowed: Collection[str]) -> None:
    """Refuse a class that nobody allowed; warn of one that has another version now.

    Raises:
        NotAllowedError: it is not among ``allowed``.
    """
    if config.path not in allowed:
        raise NotAllowedError(
            f"it is made of the class {config.path}, and to import that runs code which is not "
            f"silentmix's; if you trust it, say so: --allow-import {config.path}"
        )
    version = version_of(config.path)
    if version != config.version:
        warnings.warn(
            f"a model of {config.path} {config.version} is built of version {version}: it may "
            "sound different",
            stacklevel=2,
        )


def version_of(path: str) -> str:
    """The version of the package that a class is in; else a hash of its module's source.

    Raises:
        ValueError: it can't be imported.
    """
    kind = _class_of(path)
    package = path.partition(":")[0].partition(".")[0]
    found = importlib.metadata.packages_distributions().get(package, [])
    if found:
        return importlib.metadata.version(found[0])
    told = getattr(importlib.import_module(package), "__version__", None)
    if told is not None:
        return str(told)
    source = Path(inspect.getfile(kind)).read_bytes()
    return f"source-{hashlib.sha256(source).hexdigest()[:16]}"


def check_contract(model: SeparationModel, num_samples: int) -> None:
    """Run a model on noise, to see whether it keeps the contract: in separation, there and back.

    A registered one is known to keep it, but for what its fields make of it: it is run as in
    training alone, and not back.

    Args:
        model: in any mode, on any device; it is left as it was.
        num_samples: length of the noise.

    Raises:
        ValueError: it has no weights, fails, or returns something of another shape or kind, that is
            not finite, or that no weight has a part in; with what it should be.
    """
    config = model.config
    name = config.path if isinstance(config, ImportedConfig) else type(model).__name__
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError(f"{name} has no weights to train")
    noise = torch.Generator().manual_seed(0)
    mixture = torch.randn(2, config.num_channels, num_samples, generator=noise)
    was_training = model.training
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng(devices=[]):
            theirs = isinstance(config, ImportedConfig)
            if theirs:
                _run(model.eval(), name, mixture.to(parameter.device), back=False)
            _run(model.train(), name, mixture.to(parameter.device), back=theirs)
    finally:
        model.train(was_training).zero_grad(set_to_none=True)
        for buffer, before in buffers:
            buffer.detach().copy_(before)


def _run(model: SeparationModel, name: str, mixture: Tensor, *, back: bool) -> None:
    """Take a mixture through a model, and back where that is asked for."""
    config = model.config
    batch, channels, num_samples = mixture.shape
    expected = (batch, len(config.sources), channels, num_samples)
    wanted = f"{expected} (batch, sources, channels, samples)"
    mode = "in training" if model.training else "in separation"
    try:
        with torch.set_grad_enabled(back):
            estimates = model(mixture)
    except Exception as error:
        raise ValueError(
            f"{name} fails {mode} on mixtures of shape {tuple(mixture.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(estimates, Tensor):
        raise ValueError(
            f"{name} returns a {type(estimates).__name__} {mode}, not a tensor of shape {wanted}"
        )
    if estimates.shape != expected:
        raise ValueError(
            f"{name} returns another shape {mode} for mixtures of {tuple(mixture.shape)}: "
            f"{tuple(estimates.shape)}, not {wanted}"
        )
    if not estimates.is_floating_point():
        raise ValueError(f"{name} returns {estimates.dtype} {mode}, not real numbers (float32)")
    if not bool(estimates.isfinite().all()):
        raise ValueError(f"{name} returns NaN or infinity {mode}, of noise that is finite")
    if not back:
        return
    if not estimates.requires_grad:
        raise ValueError(f"{name} returns what no weight has a part in, so that nothing is learned")
    try:
        torch.autograd.backward(estimates.float().abs().mean())
    except Exception as error:
        raise ValueError(
            f"{name} fails {mode}, on the way back: {type(error).__name__}: {error}"
        ) from error


def _class_of(path: str) -> type[nn.Module]:
    module, _, name = path.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ValueError(
            f"{path} can't be imported ({error}); install its package, or name its folder in "
            "PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise ValueError(f"{path}: {module} has no class {name}") from error
    except Exception as error:  # to import a module is to run it
        raise ValueError(
            f"{path}: {module} fails while it is imported: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"{path} is no class of torch modules")
    return kind
