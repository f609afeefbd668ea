"""A package file of the official ``demucs`` (``.th``) → a folder with a model of ours."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from flows.inputs import registry
from flows.running.parameters import Options
from flows.running.whole_folder import require_new, whole_folder
from storage.errors import UserError

CHECKSUM: Final = re.compile(r".*-([0-9a-f]{8})")
"""How the official package files are named: their signature, and the beginning of their SHA-256."""


class ConvertParameters(Options):
    """What to convert, and where to."""

    output: str = Field(
        "", description="Folder for the model; empty takes the file's name without its ending."
    )
    trust: bool = Field(
        False,
        description="Run whatever the file names. Without it, only the official classes are known, "
        "and a file that names anything else is refused.",
    )


def convert_demucs(file: str, parameters: ConvertParameters, tell: Callable[[str], None]) -> Path:
    """Convert a file, and return the folder: ``--model`` and ``--init-from`` take it.

    It is read by a process of its own, which says what it unpickles.

    Args:
        file: as the official demucs publishes them, or its training exports them.
        parameters: where to, and how far the file is trusted.
        tell: told in a line what is done.

    Raises:
        UserError: the file is missing or damaged, names what nobody allowed, or holds a model that
            has no equal here; or the folder exists.
    """
    path = Path(file).expanduser()
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{file}: can't be read ({error.strerror})") from error
    named = CHECKSUM.fullmatch(path.stem)
    if named and not digest.startswith(named[1]):
        raise UserError(f"{file}: damaged: its SHA-256 begins with {digest[:8]}, not {named[1]}")
    folder = Path(parameters.output).expanduser() if parameters.output else path.with_suffix("")
    require_new(folder)
    tell(f"unpickling {file} in a process of its own (SHA-256 {digest})")
    with whole_folder(folder) as made:
        told = _read(path, made, parameters)
        description = {
            "model": told["model"],
            "converted": {"from": path.name, "sha256": digest, "class": told["class"]},
        }
        (made / registry.DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", "utf-8")
    tell(f"unpickled {', '.join(told['unpickled']) or 'nothing but tensors and plain values'}")
    return folder


def _read(path: Path, folder: Path, parameters: ConvertParameters) -> dict[str, Any]:
    module = "flows.convert.unpickling"
    command = [sys.executable, "-P", "-m", module, str(path.resolve()), str(folder)]
    if parameters.trust:
        command.append("trust")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise UserError(f"{path}: the process that reads it ended with {last}") from error
    if "error" in told:
        raise UserError(f"{path}: {told['error']}")
    return told
