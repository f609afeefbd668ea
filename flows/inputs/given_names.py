"""Names that people give to models and detectors, beside the ids that they have.

A name stands wherever an id does. It may be given to another later: what was made knows the id.
"""

from __future__ import annotations

import re
from typing import Literal

from storage.errors import UserError
from storage.workspace import Workspace

Kind = Literal["models", "detectors"]
FILE = "names.json"
DEFAULT = "default"
"""The name of what is taken where none is told."""

PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")


def given_names(workspace: Workspace, kind: str) -> dict[str, str]:
    """The ids by the names that were given.

    Raises:
        UserError: the file that holds them is damaged.
    """
    path = f"{kind}/{FILE}"
    if not workspace.exists(path):
        return {}
    try:
        found = workspace.read_json(path)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise UserError(
            f"{workspace.url(path)}: no names that this silentmix knows; remove the file, and give "
            f"them again with {workspace.command(f'{kind} name ID NAME')}"
        )
    return found


def names_of(workspace: Workspace, kind: str, known_id: str) -> list[str]:
    """The names that a model or detector was given."""
    return sorted(name for name, known in given_names(workspace, kind).items() if known == known_id)


def give_name(workspace: Workspace, kind: Kind, known_id: str, name: str) -> str:
    """Give a name; returns the id that had it before, or empty.

    Raises:
        UserError: it can be no name, or is an id.
    """
    if not PATTERN.fullmatch(name):
        raise UserError(
            f"{name!r} can be no name: it takes up to 100 letters, digits, '.', '_' and '-', the "
            "first of them a letter"
        )
    if name in workspace.folders(kind):
        raise UserError(f"{name!r} is the id of one of the {kind}; choose another name")
    names = given_names(workspace, kind)
    before = names.get(name, "")
    workspace.put_json(f"{kind}/{FILE}", {**names, name: known_id})
    return before


def take_names(workspace: Workspace, kind: Kind, known_id: str) -> list[str]:
    """Take all names away from one; returns them."""
    names = given_names(workspace, kind)
    kept = {name: known for name, known in names.items() if known != known_id}
    taken = sorted(names.keys() - kept.keys())
    if taken:
        workspace.put_json(f"{kind}/{FILE}", kept)
    return taken
