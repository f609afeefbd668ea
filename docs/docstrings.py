"""Docstrings as the site shows them: references are links, and examples are code."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`([^`]+)`")
EXAMPLE = re.compile(r"^>>> .*\n?(?:(?!\n).+\n?)*", flags=re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites the docstring of every object before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Link what ``:func:`` and the like name; fence what begins with a prompt."""
        if obj.docstring is not None:
            text = ROLE.sub(lambda found: _link(obj, found[1]), obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(
                lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text
            )


def _link(obj: griffe.Object, name: str) -> str:
    """A link to a function, class or module; the name alone where the site has no place for it."""
    first, _, rest = name.partition(".")
    try:
        path = ".".join(filter(None, [obj.resolve(first), rest]))
        target = obj.modules_collection[path]
    except (griffe.NameResolutionError, KeyError):
        return f"`{name}`"
    on_site = path.startswith(("demucs_core", "storage")) and target.has_docstring
    return f"[`{name}`][{path}]" if on_site else f"`{name}`"
