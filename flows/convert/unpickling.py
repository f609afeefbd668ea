"""Reads a package file of the official ``demucs``: the only place where anything is unpickled.

Run as a process of its own, ``python -m flows.convert.unpickling FILE FOLDER [trust]``. What it did
is told as JSON on the standard output.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from demucs_core.separators.extras import import_extra
from demucs_core.separators.htdemucs import EXTRA
from demucs_core.separators.official_demucs import (
    CLASSES,
    config_from_official,
    weights_from_official,
)
from demucs_core.separators.registry import SEPARATORS, build_model
from storage.printable import in_a_line

HARMLESS: Final = ("fractions.Fraction",)


def read_package(path: Path, *, trust: bool) -> tuple[dict[str, Any], list[str]]:
    """Load the file, and say what besides tensors and plain values it names.

    Args:
        path: of the file.
        trust: run whatever it names; else only the official classes are known.

    Raises:
        ValueError: it names something else, or is no such file.
    """
    try:
        named = sorted(get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, OSError, EOFError) as error:
        raise ValueError(f"is no file that torch saved ({error})") from error
    strange = [name for name in named if name not in (*CLASSES, *HARMLESS)]
    if strange and not trust:
        raise ValueError(
            f"names {', '.join(strange)}, which would run; --trust runs it, if you know who made "
            "the file"
        )
    known: list[Any] = [Fraction]
    for name in named:
        if name in CLASSES:
            module, _, kind = name.rpartition(".")
            known.append(getattr(import_extra(module, "demucs", EXTRA), kind))
    with safe_globals(known):
        package = torch.load(path, map_location="cpu", weights_only=not trust)
    if not isinstance(package, dict) or not {"klass", "args", "kwargs", "state"} <= package.keys():
        raise ValueError("holds no package of the official demucs (klass, args, kwargs, state)")
    return package, named


def convert(path: Path, folder: Path, *, trust: bool) -> dict[str, Any]:
    """Write the model in a file as configuration and weights of ours.

    Returns:
        The configuration, the class it was, and what was unpickled.

    Raises:
        ValueError: the file, or the model in it, has no equal here.
    """
    package, named = read_package(path, trust=trust)
    kind, state = package["klass"], package["state"]
    name = f"{kind.__module__}.{kind.__qualname__}"
    if "__quantized" in state:
        raise ValueError("holds quantised weights, which only the official demucs reads")
    known = inspect.signature(kind).parameters
    given = {key: value for key, value in package["kwargs"].items() if key in known}
    bound = inspect.signature(kind).bind(*package["args"], **given)
    bound.apply_defaults()
    config = SEPARATORS.to_json(config_from_official(name, bound.arguments))
    weights = {key: value.float() for key, value in weights_from_official(name, state).items()}
    build_model(config).load_state_dict(weights)
    contiguous = {key: value.contiguous() for key, value in weights.items()}
    save_file(contiguous, folder / "weights.safetensors", {"model": json.dumps(config)})
    return {"model": config, "class": name, "unpickled": named}


def main(path: str, folder: str, trust: str = "") -> int:
    """Convert, and tell; the exit status is 2 where the file won't do."""
    with contextlib.redirect_stdout(sys.stderr):  # what is unpickled may print
        try:
            told: dict[str, Any] = convert(Path(path), Path(folder), trust=bool(trust))
        except Exception as error:  # noqa: BLE001
            told = {"error": in_a_line(error)}
    print(json.dumps(told))
    return 2 if "error" in told else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
