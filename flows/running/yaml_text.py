"""YAML in which no key stands twice: of two values, one would be lost without a word."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if lines.setdefault(name, line) != line:
                raise yaml.YAMLError(f"{name!r} stands in lines {lines[name]} and {line}; keep one")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """What a YAML document says.

    Raises:
        yaml.YAMLError: it is none, or a key of a mapping stands in it twice.

    >>> parse_yaml("train: {steps: 5}")
    {'train': {'steps': 5}}
    """
    return yaml.load(text, Loader=_Loader)
