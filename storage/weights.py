"""Weights and training states as safetensors: arrays and text, nothing that could run code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from storage.damage import ADVICE
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
) -> str:
    """Store named arrays, and JSON-able ``metadata`` in the same file, in one atomic step.

    Returns:
        The SHA-256 of the file.
    """
    text = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    contiguous = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    content = save(contiguous, metadata=text)
    workspace.put_bytes(relative, content)
    return hashlib.sha256(content).hexdigest()


def load_tensors(
    workspace: Workspace, relative: str, *, sha256: object = None
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Read what :func:`save_tensors` stored.

    Args:
        workspace: where.
        relative: the file in it.
        sha256: of the file, where it was noted.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        content = workspace.read(relative)
        require_hash(hashlib.sha256(content).hexdigest(), sha256, workspace.url(relative))
        tensors = load(content)
    except FileNotFoundError as error:
        raise WeightsError(f"{workspace.url(relative)}: no such weights") from error
    except KeyError as error:
        raise WeightsError(
            f"{workspace.url(relative)}: weights of a kind that is not known here ({error}); store "
            "them as float32"
        ) from error
    except SafetensorError as error:
        raise WeightsError(
            f"{workspace.url(relative)}: damaged weights ({error}); {ADVICE}"
        ) from error
    return tensors, file_metadata(content)


def require_hash(found: str, noted: object, url: str) -> None:
    """Refuse weights that are not those that were stored.

    Args:
        found: SHA-256 of the file.
        noted: what it was when it was written; None where that was before hashes were noted.
        url: of the file.

    Raises:
        WeightsError: they differ.
    """
    if noted is not None and noted != found:
        raise WeightsError(
            f"{url}: damaged weights (its SHA-256 is not the one in the description); {ADVICE}"
        )


def file_metadata(content: bytes) -> dict[str, object]:
    """What a safetensors file says beside its arrays; texts that are no JSON, as they are."""
    length = int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
    header = json.loads(content[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + length])
    return {name: _parsed(text) for name, text in (header.get("__metadata__") or {}).items()}


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
