"""A trained model → a folder for others: safetensors with a model card, ONNX, official demucs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from demucs_core.separators.demucs import Demucs
from demucs_core.separators.registry import config_of
from demucs_core.separators.separator import SeparationModel
from flows.export.demucs_package import write_package
from flows.export.model_card import ModelCard
from flows.export.onnx_file import write_onnx
from flows.export.options import ExportModelParameters
from flows.inputs import registry
from flows.inputs.songs import load_songs
from flows.running.whole_folder import require_new, whole_folder
from flows.separate.model_folder import open_model
from storage.reading import CanonicalAudioError, CropReader
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

CARD, ONNX, PACKAGES = "README.md", "model.onnx", "demucs"
NUM_TRIED = 5
"""Songs in which real audio is looked for."""


def export_model(parameters: ExportModelParameters, tell: Callable[[str], None]) -> Path:
    """Write the folder, and return it.

    Args:
        parameters: what to write.
        tell: told in a line what was written and compared.

    Raises:
        UserError: no such model; the folder exists; a format that the architecture can't be written
            in; or what was written gives another output than the model.
    """
    output = Path(parameters.output).expanduser()
    require_new(output)
    model = open_model(
        parameters.model, parameters.workspace, "cpu", tuple(parameters.allow_import)
    )
    name, workspace, description = _origin(parameters)
    config = config_of(model)
    with whole_folder(output) as folder:
        notes = _other_formats(model, name, workspace, parameters, folder)
        weights = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
        told = {"model": json.dumps(config), "silentmix": name}
        save_file(weights, folder / registry.WEIGHTS, told)
        public = {"model": config}
        if "converted" in description:
            public["converted"] = description["converted"]
        (folder / registry.DESCRIPTION).write_text(json.dumps(public, indent=1) + "\n", "utf-8")
        card = ModelCard(
            name=name,
            config=config,
            num_weights=sum(weight.numel() for weight in model.parameters()),
            description=description,
            workspace=workspace,
        )
        (folder / CARD).write_text(card.markdown(notes), "utf-8")
    for note in notes:
        tell(note.replace("`", ""))
    return output


def _other_formats(
    model: SeparationModel,
    name: str,
    workspace: Workspace | None,
    parameters: ExportModelParameters,
    folder: Path,
) -> list[str]:
    """Write what was asked for beside safetensors; says what each is, for the card."""
    formats = dict.fromkeys(parameters.formats)
    if not formats.keys() - {"safetensors"}:
        return []
    mixture, heard = _real_audio(workspace, model, parameters.segment_s)
    notes = []
    if "onnx" in formats:
        error = write_onnx(model, mixture, folder / ONNX)
        notes.append(
            f"`{ONNX}` takes `mixture`, of shape {tuple(mixture.shape)}, and gives `sources`. On "
            f"{heard} it differs from the original by at most {error:.1e}."
        )
    if "demucs" in formats:
        file, error = write_package(model, name, parameters.segment_s, mixture, folder / PACKAGES)
        notes.append(
            f"`demucs --repo {PACKAGES} -n {file.stem.rpartition('-')[0]} SONG` separates with "
            f"`{PACKAGES}/{file.name}`. Loaded by official demucs, it differs from the original by "
            f"at most {error:.1e} on {heard}.{_levels(model)}"
        )
    return notes


def _origin(parameters: ExportModelParameters) -> tuple[str, Workspace | None, dict[str, Any]]:
    """The model's name, its workspace if it is in one, and its description."""
    if registry.is_folder(parameters.model):
        folder = Path(parameters.model).expanduser()
        text = (folder / registry.DESCRIPTION).read_text("utf-8")
        return folder.resolve().name, None, json.loads(text)
    workspace = Workspace(parameters.workspace)
    name = registry.resolve(workspace, "models", parameters.model)
    return name, workspace, registry.describe(workspace, "models", name)


def _real_audio(
    workspace: Workspace | None, model: SeparationModel, segment_s: float
) -> tuple[torch.Tensor, str]:
    """A stretch of a song ``(1, C, T)`` as long as the model likes its pieces, and what it is."""
    config = model.config
    longest = model.longest_segment()
    wanted = round(segment_s * config.sample_rate)
    num = model.valid_length(wanted if longest is None else min(wanted, longest))
    found = None if workspace is None else _song(workspace, num)
    if found is None:
        noise = torch.randn(1, config.num_channels, num, generator=torch.Generator().manual_seed(0))
        return 0.1 * noise, "noise (there was no song)"
    audio, name = found
    padded = np.pad(audio, ((0, 0), (0, num - audio.shape[1])))
    return torch.from_numpy(padded)[None], f"a stretch of the song {name}"


def _song(workspace: Workspace, num_samples: int) -> tuple[np.ndarray, str] | None:
    """The middle of the first song that there is, of a test song if there is one."""
    manifests = Manifests(workspace)
    for split in ("test", "valid", "train"):
        for stems in manifests.partitions("stems"):
            for song in load_songs(manifests, stems, split)[:NUM_TRIED]:
                num = min(num_samples, song.num_samples)
                first = (song.num_samples - num) // 2
                try:
                    return CropReader(workspace.location)(song.heard_path, first, num), song.name
                except CanonicalAudioError:
                    continue
    return None


def _levels(model: SeparationModel) -> str:
    if not isinstance(model, Demucs):
        return ""  # HTDemucs scales by itself
    return (
        " The command scales each song to a standard deviation of one before, which this "
        "architecture was not trained on: it sounds best through `demucs.apply.apply_model`, which "
        "does not."
    )
