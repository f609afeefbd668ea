"""Weights that a training begins with: a model of the workspace, of a folder, or a file."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from demucs_core.architectures import as_object
from demucs_core.separators.registry import stored_config
from flows.inputs import registry
from storage.errors import UserError
from storage.weights import file_metadata, require_hash
from storage.workspace import Workspace

SAFE = ".safetensors"
PICKLES = (".th", ".pt", ".pth", ".ckpt", ".bin", ".pkl")
"""Files that hold programs beside weights."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a training begins with.

    Attributes:
        place: where it was found, for messages and the description.
        content: of the file of weights.
        sources: that the weights are for, in order; None where nothing says so.
        model: its name, if it is a model of the workspace; it has heard music.
    """

    place: str
    content: bytes
    sources: tuple[str, ...] | None
    model: str = ""

    @property
    def digest(self) -> str:
        """What it is, whatever it is called."""
        return hashlib.sha256(self.content).hexdigest()

    def weights(self) -> dict[str, Tensor]:
        """The weights.

        Raises:
            UserError: the file is damaged.
        """
        try:
            return load(self.content)
        except SafetensorError as error:
            raise UserError(f"init_from: {self.place}: damaged weights ({error})") from error


def find_start(name: str, workspace: Workspace) -> Start | None:
    """What ``init_from`` names: a file, a folder, or a model of the workspace; None where empty.

    Raises:
        UserError: there is no such thing, or it is a pickle, which is not read; says what to do.
    """
    if not name:
        return None
    path = Path(name).expanduser()
    if path.suffix in PICKLES:
        raise UserError(
            f"init_from: {name} may hold a program, and is not read; if you trust it, make a model "
            f"of it once: {workspace.command(f'convert demucs {shlex.quote(name)}')}"
        )
    if path.suffix == SAFE:
        content = _read(path)
        return Start(place=name, content=content, sources=_sources_told(content, name))
    if registry.is_folder(name):
        description = _description(path)
        content = _read(path / registry.WEIGHTS)
        _require_hash(content, description, str(path / registry.WEIGHTS))
        return Start(place=name, content=content, sources=_sources(description, name))
    model = registry.resolve(workspace, "models", name)
    description = registry.describe(workspace, "models", model)
    weights = f"models/{model}/{registry.WEIGHTS}"
    content = workspace.read(weights)
    _require_hash(content, description, workspace.url(weights))
    return Start(
        place=f"model {model}",
        content=content,
        sources=_sources(description, name),
        model=model,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"init_from: {path}: no weights to read ({error.strerror})") from error


def _require_hash(content: bytes, description: Mapping[str, Any], url: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    require_hash(found, description.get(registry.WEIGHTS_SHA256), url)


def _description(folder: Path) -> Mapping[str, Any]:
    path = folder / registry.DESCRIPTION
    if not path.exists():
        raise UserError(
            f"init_from: {folder}: no {registry.DESCRIPTION} in it, so it is no model's folder; "
            f"name one with {registry.DESCRIPTION} and {registry.WEIGHTS}, a file that ends in "
            f"{SAFE}, or a model of the workspace"
        )
    content = _read(path)
    try:
        found: Mapping[str, Any] = as_object(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise UserError(f"init_from: {path}: no object of JSON ({error})") from error
    return found


def _sources(description: Mapping[str, Any], name: str) -> tuple[str, ...]:
    try:
        told = stored_config(description["model"])["sources"]
    except (KeyError, TypeError) as error:
        raise UserError(f"init_from: {name} describes no model of ours") from error
    if not isinstance(told, list):
        raise UserError(f"init_from: {name} has no list of sources")
    return tuple(map(str, told))


def _sources_told(content: bytes, name: str) -> tuple[str, ...] | None:
    """The sources, if the file's own description names them, as ``silentmix export model`` does."""
    try:
        model = file_metadata(content).get("model")
    except ValueError:
        return None  # damaged, as will be told where the weights are read
    return _sources({"model": model}, name) if isinstance(model, dict) else None
