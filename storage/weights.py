"""Weights and training states as safetensors: arrays and text, nothing that could run code."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from storage.errors import UserError
from storage.workspace import Workspace

HEADER_LENGTH_BYTES = 8


class WeightsError(UserError):
    """A weights file that is missing or damaged."""


def save_tensors(
    workspace: Workspace,
    relative: str,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Store named arrays, and JSON-able ``metadata`` in the same file, in one atomic step."""
    text = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    contiguous = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    workspace.put_bytes(relative, save(contiguous, metadata=text))


def load_tensors(
    workspace: Workspace, relative: str
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Read what :func:`save_tensors` stored.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        content = workspace.read(relative)
        tensors = load(content)
    except FileNotFoundError as error:
        raise WeightsError(f"{workspace.url(relative)}: no such weights") from error
    except SafetensorError as error:
        raise WeightsError(
            f"{workspace.url(relative)}: damaged weights ({error}); remove the file and run the "
            "stage that wrote it again"
        ) from error
    return tensors, file_metadata(content)


def file_metadata(content: bytes) -> dict[str, object]:
    """What a safetensors file says beside its arrays; texts that are no JSON, as they are."""
    length = int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
    header = json.loads(content[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + length])
    return {name: _parsed(text) for name, text in (header.get("__metadata__") or {}).items()}


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
