"""Packages that only some separators need: the extras of silentmix that bring them."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ValueError):
    """A separator's package is not installed; the message names the command that brings it."""


def import_extra(module: str, architecture: str, extra: str) -> ModuleType:
    """Import a module of the package that an architecture is made of.

    Args:
        module: what to import.
        architecture: who wants it, for the message.
        extra: of silentmix, that brings it.

    Raises:
        MissingExtraError: it is not installed, or something that it needs is not.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"architecture {architecture} needs the package {module.partition('.')[0]}, which "
            f"can't be imported here ({error}): pip install 'silentmix[{extra}]'"
        ) from error
