"""Presets of ``train``: files of other defaults, each in ``presets/NAME.yaml`` beside this."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

_FOLDER = files(__package__) / "presets"
_SUFFIX = ".yaml"


def preset_names() -> list[str]:
    """The presets there are, sorted."""
    return sorted(
        file.name.removesuffix(_SUFFIX) for file in _FOLDER.iterdir() if file.name.endswith(_SUFFIX)
    )


def load_preset(name: str) -> dict[str, Any]:
    """The fields that a preset sets.

    Raises:
        ValueError: there is none of that name; the message lists those there are.

    >>> load_preset("demo")["steps"]
    3000
    """
    if name not in preset_names():
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(preset_names())}")
    fields: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}{_SUFFIX}").read_text("utf-8"))
    return fields
