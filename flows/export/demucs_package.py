"""A model as a package file that the official ``demucs --repo`` loads."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from demucs_core.separators.extras import MissingExtraError, import_extra
from demucs_core.separators.htdemucs import EXTRA
from demucs_core.separators.official_demucs import to_official
from demucs_core.separators.separator import SeparationModel
from flows.export.onnx_file import require_same
from storage.errors import UserError


def write_package(
    model: SeparationModel, name: str, segment_s: float, mixture: Tensor, folder: Path
) -> tuple[Path, float]:
    """Write a model of ours as the official training writes its own, and compare what is loaded.

    Args:
        model: in evaluation mode, on the CPU.
        name: of the model; ``demucs -n`` takes it, with _ for what is no letter or digit.
        segment_s: length of the pieces that it should separate, where the model does not say.
        mixture: ``(1, C, T)``, to compare on.
        folder: that ``demucs --repo`` takes.

    Returns:
        The file, and the largest difference of a sample.

    Raises:
        UserError: demucs is missing, knows no such architecture, or gives another output.
    """
    try:
        kind, arguments, state = to_official(model.config, model.state_dict(), segment_s)
        module, _, called = kind.rpartition(".")
        official = getattr(import_extra(module, "demucs", EXTRA), called)
    except MissingExtraError as error:
        raise UserError(f"formats: demucs: {error}") from error
    except ValueError as error:
        raise UserError(f"formats: {error}") from error
    content = {
        "klass": official, "args": (), "kwargs": arguments, "training_args": {},
        "state": {key: value.cpu().clone() for key, value in state.items()},
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save(content, buffer)
    checksum = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    folder.mkdir(parents=True, exist_ok=True)
    signature = re.sub(r"[^0-9A-Za-z]", "_", name)
    path = folder / f"{signature}-{checksum}.th"
    path.write_bytes(buffer.getvalue())
    # as `demucs --repo FOLDER -n SIGNATURE` does it
    theirs = import_extra("demucs.pretrained", "demucs", EXTRA).get_model(signature, folder)
    with torch.inference_mode():
        made, expected = theirs(mixture).numpy(), model(mixture).numpy()
    return path, require_same(np.asarray(made), np.asarray(expected), path.name)
