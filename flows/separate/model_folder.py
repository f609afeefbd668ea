"""A separation model from a workspace, or from a folder that somebody was handed.

Such a folder holds ``config.json`` and ``weights.safetensors``: it is a copy of a workspace's
``models/<id>``. Weights are mapped from the file, not copied: they take their own size in memory,
where reading them takes several times that.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from demucs_core.separators.extras import MissingExtraError
from demucs_core.separators.imported import NotAllowedError
from demucs_core.separators.registry import SEPARATORS, build_model, stored_config
from demucs_core.separators.separator import SeparationModel
from flows.inputs import networks, registry
from storage.errors import UserError
from storage.weights import require_hash
from storage.workspace import Workspace

CHANNELS = (1, 2)
_SOURCE_NAME = re.compile(r"\w[\w. -]*")


def open_model(
    name: str, workspace: str, device: str, allow_import: tuple[str, ...] = ()
) -> SeparationModel:
    """A model in evaluation mode.

    Args:
        name: a folder (with a slash in it, or one that is there), or a model of the workspace;
            empty for the only one it has.
        workspace: asked for where ``name`` is no folder.
        device: where to put it.
        allow_import: classes that may be imported for it.

    Raises:
        UserError: there is no such model, or it is damaged.
    """
    if registry.is_folder(name):
        return load_folder(Path(name).expanduser(), allow_import).to(device)
    try:
        found = Workspace(workspace)
    except UserError as error:
        said = f"there is no folder {name!r}" if name else "no model is named"
        raise UserError(
            f"model: {said}; name one with config.json and weights.safetensors, such as "
            f"RESULTS/models/ID, or a workspace that has models ({error})"
        ) from error
    model = registry.resolve(found, "models", name)
    if found.is_local:
        return load_folder(Path(found.root) / "models" / model, allow_import).to(device)
    loaded = networks.load_model(found, model, device, allow_import)
    return _checked(loaded, found.url(f"models/{model}"))


def model_named(name: str, workspace: str) -> str:
    """What tells a model from others: its folder and when its weights were written, or its id."""
    if not registry.is_folder(name):
        found = Workspace(workspace)
        return f"{found.location}/models/{registry.resolve(found, 'models', name)}"
    folder = Path(name).expanduser().resolve()
    return f"{folder} {(folder / registry.WEIGHTS).stat().st_mtime_ns}"


def load_folder(folder: Path, allow_import: Collection[str] = ()) -> SeparationModel:
    """The model in a local folder, in evaluation mode, on the CPU.

    Raises:
        UserError: a file is missing or damaged, or the two don't belong together.
    """
    description, weights = folder / registry.DESCRIPTION, folder / registry.WEIGHTS
    for path in (description, weights):
        if not path.is_file():
            raise UserError(
                f"{folder}: no model here ({path.name} is missing); --model takes the name of a "
                f"workspace's model, or a folder with {registry.DESCRIPTION} and {registry.WEIGHTS}"
            )
    try:
        told = json.loads(description.read_text("utf-8"))
        model = _built(stored_config(told["model"]), allow_import)
    except (MissingExtraError, NotAllowedError) as error:
        raise UserError(f"{description}: {error}") from error
    except (ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
        raise UserError(f"{description}: describes no model of ours ({error})") from error
    with weights.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    require_hash(sha256, told.get(registry.WEIGHTS_SHA256), str(weights))
    try:
        model.load_state_dict(networks.to_float(load_file(weights)), assign=True)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{weights}: damaged weights ({error})") from error
    except RuntimeError as error:
        detail = " ".join(str(error).split()[:30])
        raise UserError(f"{weights}: not the weights that config.json tells: {detail}") from error
    return _checked(model.eval(), str(folder))


def _built(model: Mapping[str, object], allow_import: Collection[str]) -> SeparationModel:
    """The model that a description tells, without weights where we know that it will do."""
    if SEPARATORS[model.get("architecture")].extra:
        # another author's code may compute while it is built
        return build_model(model, allow_import=allow_import)
    # on no device: the weights come from the file
    with torch.device("meta"):
        return build_model(model)


def _checked(model: SeparationModel, place: str) -> SeparationModel:
    """Refuse what can't be used on files: sources become names of files."""
    config = model.config
    if config.num_channels not in CHANNELS:
        raise UserError(
            f"{place}: a model of {config.num_channels} channels; only mono or stereo will do"
        )
    for source in config.sources:
        if not _SOURCE_NAME.fullmatch(source):
            raise UserError(f"{place}: has a source {source!r}, which can't name a file")
    return model
