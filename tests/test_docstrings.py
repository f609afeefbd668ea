"""One style of docstrings: what ruff checks (Google's sections), and what it can't."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("benchmarks", "demo_corpus", "demucs_core", "flows", "storage")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
ROLE = re.compile(r":\w+:`[^`]+`")
SINGLE = re.compile(r"(?<!`)`[^`]+`(?!`)")


def strings(tree: ast.AST) -> Iterator[str]:
    """Docstrings, and texts below constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            value = node.value.value
            if isinstance(value, str):
                yield value


@pytest.mark.parametrize("package", PACKAGES)
def test_code_is_in_double_backticks_and_errors_are_in_their_section(package: str) -> None:
    wrong = [
        (str(path.relative_to(ROOT)), text)
        for path in FILES
        if path.is_relative_to(ROOT / package)
        for text in strings(ast.parse(path.read_text(encoding="utf-8")))
        if SINGLE.search(ROLE.sub("", text)) or re.search(r"\b[Rr]aises ``", text)
    ]
    assert not wrong


def test_a_class_tells_its_fields_in_one_section() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {node.name}: a text below a field; put it under Attributes"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for before, after in zip(node.body, node.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr)
    ]
    assert not wrong
