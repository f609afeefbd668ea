"""YAML that is what it looks like.

No key stands twice: of two values, one would be lost without a word. And no text of a few bytes
stands for more than anybody would write: anchors may be used, but not to multiply themselves.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

MOST_NODES = 100_000
"""Values that a document may hold, with each alias counted as all that it stands for."""

MOST_BYTES = 2**20
"""What a file may hold."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in lines:
                raise yaml.YAMLError(f"{name!r} stands in lines {lines[name]} and {line}; keep one")
            lines[name] = line
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """What a YAML document says.

    Raises:
        yaml.YAMLError: it is none, a key of a mapping stands in it twice, or it is too large.

    >>> parse_yaml("train: {steps: 5}")
    {'train': {'steps': 5}}
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is not None and _size(root, {}) > MOST_NODES:
            raise yaml.YAMLError(f"holds more than {MOST_NODES} values")
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
    except RecursionError as error:
        raise yaml.YAMLError("nested too deep") from error
    except (ValueError, AttributeError, TypeError, LookupError, ArithmeticError) as error:
        # where a tag does not fit, `!!int x`, PyYAML says what its own code stumbled at
        raise yaml.YAMLError("a value is not what its tag says") from error


def read_yaml(path: str) -> Any:
    """What a YAML file says; of one that does not end, no more is read than one may hold.

    Raises:
        OSError: there is no file to read.
        UnicodeDecodeError: it is no text.
        yaml.YAMLError: as :func:`parse_yaml`.
    """
    with Path(path).open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise yaml.YAMLError(f"larger than {MOST_BYTES} bytes")
    return parse_yaml(content.decode("utf-8"))


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for; too many where it holds itself."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # until it is counted, lest it holds itself
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]
