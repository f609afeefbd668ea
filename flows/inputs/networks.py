"""Detectors and models as networks: their weights in and out of a workspace."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import torch

from demucs_core.detector.config import DetectorConfig, SilenceDetector
from demucs_core.detector.registry import build_detector, parse_detector_config
from demucs_core.separators.extras import MissingExtraError
from demucs_core.separators.imported import ImportedConfig, NotAllowedError, require_allowed
from demucs_core.separators.registry import SEPARATORS, build_model, stored_config
from demucs_core.separators.separator import SeparationModel, SeparatorConfig
from flows.inputs import registry
from flows.inputs.made_for import foreign, make_anew, require_hears
from storage.errors import UserError
from storage.music_format import MusicFormat, in_words
from storage.weights import load_tensors
from storage.workspace import Workspace


def store(
    workspace: Workspace,
    kind: str,
    name: str,
    module: torch.nn.Module,
    description: dict[str, Any],
) -> None:
    """Write the weights, then the description that makes them count."""
    registry.store_weights(workspace, kind, name, to_numpy(module.state_dict()), description)


def to_numpy(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Tensors as arrays on the host."""
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}


def to_torch(arrays: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Arrays as tensors of their own."""
    return {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}


def to_float(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of half precision as float32; what is no float stays as it is."""
    return {
        name: value.to(torch.float32) if value.is_floating_point() else value
        for name, value in weights.items()
    }


def require_own_detector(workspace: Workspace, name: str) -> DetectorConfig:
    """The configuration of a detector whose scores mean something in this workspace.

    Raises:
        UserError: as :func:`~flows.inputs.made_for.require_hears`.
    """
    told = require_hears(workspace, name)
    try:
        return parse_detector_config(told)
    except (KeyError, TypeError, ValueError) as error:
        raise foreign("detectors", name, error) from error


def require_own_model(
    workspace: Workspace, name: str, allow_import: Collection[str] = ()
) -> SeparatorConfig:
    """The configuration of a model that separates the music of this workspace.

    Args:
        workspace: where the model is.
        name: of the model.
        allow_import: classes that may be imported.

    Raises:
        UserError: unknown, of a schema this version does not know, made for other sources,
            another sample rate or other channels, or made of a class that may not be imported.
    """
    description = registry.describe(workspace, "models", name)
    try:
        config = SEPARATORS.parse(stored_config(description["model"]))
    except (KeyError, TypeError, ValueError) as error:
        raise foreign("models", name, error) from error
    if _of(config) != _of(workspace.music):
        raise UserError(
            f"model {name!r} separates {in_words(*_of(config))}; this workspace holds "
            f"{workspace.music}: train a model here"
        )
    if isinstance(config, ImportedConfig):
        try:
            require_allowed(config, allow_import)
        except ValueError as error:
            raise UserError(f"model {name!r}: {error}") from error
    return config


_NOT_BUILT = (KeyError, TypeError, ValueError, RuntimeError, OverflowError)
"""What building raises of a description that nobody wrote; torch of sizes that no tensor has."""


def _of(made_for: MusicFormat | SeparatorConfig) -> tuple[tuple[str, ...], int, int]:
    return made_for.sources, made_for.sample_rate, made_for.num_channels


@lru_cache(maxsize=2)
def load_detector(workspace: Workspace, name: str, device: str) -> SilenceDetector:
    """A detector in evaluation mode; kept, since a worker scores many batches with it.

    Raises:
        UserError: as :func:`require_own_detector`, or its weights are those of something else.
    """
    config = require_own_detector(workspace, name)
    try:
        detector = build_detector(config)
    except _NOT_BUILT as error:
        raise foreign("detectors", name, error) from error
    _load_weights(workspace, "detectors", name, detector)
    return detector.eval().to(device)


@lru_cache(maxsize=2)
def load_model(
    workspace: Workspace, name: str, device: str, allow_import: tuple[str, ...] = ()
) -> SeparationModel:
    """A separation model in evaluation mode; kept, since a worker separates many songs with it.

    Raises:
        UserError: there is none of that name, its package is missing, it is of a schema that this
            version does not know, or it is made of a class that may not be imported.
    """
    try:
        model = build_model(
            stored_config(registry.describe(workspace, "models", name)["model"]),
            allow_import=allow_import,
        )
    except (MissingExtraError, NotAllowedError) as error:
        raise UserError(f"model {name!r}: {error}") from error
    except _NOT_BUILT as error:
        raise foreign("models", name, error) from error
    _load_weights(workspace, "models", name, model)
    return model.eval().to(device)


def _load_weights(workspace: Workspace, kind: str, name: str, module: torch.nn.Module) -> None:
    description = registry.describe(workspace, kind, name)
    path = f"{kind}/{name}/{registry.WEIGHTS}"
    tensors, _ = load_tensors(workspace, path, sha256=description.get(registry.WEIGHTS_SHA256))
    try:
        module.load_state_dict(to_torch(tensors))
    except RuntimeError as error:
        raise UserError(
            f"{kind[:-1]} {name!r}: {registry.WEIGHTS} does not hold the weights that "
            f"{registry.DESCRIPTION} speaks of; restore the two together, or {make_anew(kind)} here"
        ) from error
