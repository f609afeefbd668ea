"""A model as an ONNX network of one length, compared with the original.

Written by torch's first exporter, which knows LSTMs as such. ONNX has no complex numbers, so that
separators which work on complex spectrograms can't be written.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from demucs_core.separators.registry import SEPARATORS
from demucs_core.separators.separator import SeparationModel
from storage.errors import UserError

COMPLEX: Final = ("open_unmix", "htdemucs", "bs_roformer")
OPSET: Final = 17
TOLERANCE: Final = 1e-4
"""Of the largest sample of the output, or of full scale."""


def write_onnx(model: SeparationModel, mixture: Tensor, path: Path) -> float:
    """Write a model for mixtures of one shape, and compare the two on such a mixture.

    Args:
        model: in evaluation mode, on the CPU.
        mixture: ``(1, C, T)``.
        path: of the file.

    Returns:
        The largest difference of a sample.

    Raises:
        UserError: the package is missing, the architecture can't be written, or the outputs differ.
    """
    architecture = SEPARATORS.of(model.config).name
    if architecture in COMPLEX:
        raise UserError(
            f"formats: ONNX has no complex numbers, which {architecture} works on; demucs and "
            "wave_unet can be written"
        )
    runtime = _package("onnxruntime")
    _package("onnx")
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # of this exporter's age, and that lengths become constants, which is meant
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                (mixture,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=["mixture"],
                output_names=["sources"],
            )
            expected = model(mixture).numpy()
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        line = str(error).strip().splitlines()[0]
        raise UserError(f"formats: {architecture} can't be written as ONNX ({line})") from error
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [made] = session.run(None, {"mixture": mixture.numpy()})
    return require_same(made, expected, str(path))


def require_same(made: np.ndarray, expected: np.ndarray, what: str) -> float:
    """The largest difference of a sample of two outputs.

    Raises:
        UserError: it is larger than what rounding explains.
    """
    error = float(np.abs(made - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not error <= allowed:
        raise UserError(
            f"{what}: gives another output than the model (by {error:.1e}); it was not kept"
        )
    return error


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"formats: onnx needs the package {name}: pip install 'silentmix[onnx]'"
        ) from error
