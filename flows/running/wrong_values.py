"""What is said of a parameter that can't be: the field, what it must be, and what it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from flows.running.parameters import CORPUS_PATTERN

BOUNDS: Mapping[str, str] = {
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "below {lt:g}",
    "finite_number": "finite",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
}
"""What a number must be, by pydantic's name of the problem."""

KINDS: Mapping[str, str] = {
    "literal_error": "{expected}",
    "string_type": "a text",
    "string_too_long": "of {max_length} characters at most",
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
}
"""What another value must be."""

NAME = "a letter, then letters, digits, ., _ and -"
OF_PYDANTIC = frozenset(get_args(ErrorType))
"""Other types of problems are our own: their words say all."""


def describe(error: ValidationError) -> str:
    """What a validation error says, in one line a user can act on."""
    return "; ".join(map(_described, error.errors()))


def _described(problem: ErrorDetails) -> str:
    field, kind, given = ".".join(map(str, problem["loc"])), problem["type"], problem["input"]
    told: dict[str, Any] = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown field {field!r}"
    if kind == "missing":
        return f"{field} is required"
    if kind == "value_error" or kind not in OF_PYDANTIC:
        text = str(told.get("error", problem["msg"])) if kind == "value_error" else problem["msg"]
        # whose message begins with the field already, or is about the model as a whole
        return text if not field or re.match(rf"{re.escape(field)}\b", text) else f"{field}: {text}"
    if kind in BOUNDS:
        return f"{field} must be {BOUNDS[kind].format_map(told)}, not {given}"
    if kind in KINDS:
        return f"{field} must be {KINDS[kind].format_map(told)}, not {given!r}"
    if kind == "string_pattern_mismatch":
        pattern = told["pattern"]
        wanted = NAME if pattern == CORPUS_PATTERN else f"like {pattern}"
        return f"{field} must be {wanted}, not {given!r}"
    return f"{field}: {problem['msg'][:1].lower()}{problem['msg'][1:]}, not {given!r}"
