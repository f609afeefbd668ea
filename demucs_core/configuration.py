"""Configurations as frozen dataclasses: read from JSON, written to it, their fields checked.

A field is a number, a text, a boolean, a choice (``Literal``), a tuple of such, another
configuration, or any JSON object (``dict``); its annotation says which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Config = TypeVar("Config")

_WORDS = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}


def parse_config(kind: type[Config], values: object, what: str) -> Config:
    """Read a configuration from a JSON object; fields left out have their defaults.

    Args:
        kind: its class.
        values: the object.
        what: names it in messages.

    Raises:
        ValueError: no object, an unknown field, one that is missing, or a value that a field can't
            have, by name.

    >>> from demucs_core.activity import ActivityConfig
    >>> parse_config(ActivityConfig, {"close_gap_s": 1}, "activity").close_gap_s
    1.0
    >>> parse_config(ActivityConfig, {"close_gap": 1}, "activity")
    Traceback (most recent call last):
    ...
    ValueError: activity has no field 'close_gap'; it has relative_db, absolute_db, close_gap_s, \
context_s
    """
    assert is_dataclass(kind)
    if not isinstance(values, Mapping):
        raise ValueError(f"{what} must be an object, not {values!r}")
    known = {field.name: field for field in fields(kind)}
    for name in values:
        if name not in known:
            raise ValueError(f"{what} has no field {name!r}; it has {', '.join(known)}")
    for name, field in known.items():
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and name not in values:
            raise ValueError(f"{what} lacks {name}")
    hints = get_type_hints(kind)
    arguments = {
        name: _read(hints[name], value, f"{what}: {name}") for name, value in values.items()
    }
    made: Config = kind(**arguments)
    return made


def config_to_json(config: Any) -> dict[str, Any]:
    """Write what :func:`parse_config` reads."""
    values: dict[str, Any] = jsonable(asdict(config))
    return values


def jsonable(value: Any) -> Any:
    """A value as it comes back from JSON: tuples are lists there.

    >>> jsonable({"a": (1, (2, 3))})
    {'a': [1, [2, 3]]}
    """
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


def _read(hint: Any, value: object, name: str) -> Any:
    """A JSON value as its field's annotation wants it."""
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return parse_config(hint, value, name)
    origin, items = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in items:
            raise ValueError(f"{name} must be one of {', '.join(map(str, items))}, not {value!r}")
        return value
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be an object, not {value!r}")
        return dict(value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} must be a list, not {value!r}")
        if items[-1] is Ellipsis:
            items = items[:1] * len(value)
        if len(items) != len(value):
            raise ValueError(f"{name} must be a list of {len(items)}, not {value!r}")
        return tuple(_read(item, each, name) for item, each in zip(items, value, strict=True))
    # JSON writes 2.0 as 2, so a whole number will do for a float; a boolean never does.
    allowed = (int, float) if hint is float else hint
    if not isinstance(value, allowed) or isinstance(value, bool) != (hint is bool):
        raise ValueError(f"{name} must be {_WORDS[hint]}, not {value!r}")
    try:
        read = hint(value)
    except OverflowError:  # a whole number beyond all floats
        read = math.inf
    if isinstance(read, float) and not math.isfinite(read):
        raise ValueError(f"{name} must be finite, not {read}")
    return read


def check_at_least(config: object, bound: float, *names: str) -> None:
    """Check that fields are not below a bound.

    Raises:
        ValueError: the first that is, by name.
    """
    for name in names:
        if not getattr(config, name) >= bound:
            raise ValueError(f"{name} must be at least {bound}, not {getattr(config, name)}")


def check_above(config: object, bound: float, *names: str) -> None:
    """Check that fields are above a bound.

    Raises:
        ValueError: the first that is not, by name.
    """
    for name in names:
        if not getattr(config, name) > bound:
            raise ValueError(f"{name} must be above {bound}, not {getattr(config, name)}")


def check_below(config: object, bound: float, *names: str) -> None:
    """Check that fields are below a bound.

    Raises:
        ValueError: the first that is not, by name.
    """
    for name in names:
        if not getattr(config, name) < bound:
            raise ValueError(f"{name} must be below {bound}, not {getattr(config, name)}")


MAX_SAMPLE_RATE = 384_000
"""Beyond any recorder's; what resamples to rates like 1e9 breaks down."""


def check_range(config: object, lowest: float, highest: float, *names: str) -> None:
    """Check that fields are from one bound to another.

    Raises:
        ValueError: the first that is not, by name.
    """
    for name in names:
        value = getattr(config, name)
        if not lowest <= value <= highest:
            raise ValueError(f"{name} must be from {lowest} to {highest}, not {value}")


def check_share(config: object, *names: str) -> None:
    """Check that fields are from 0 to 1.

    Raises:
        ValueError: the first that is not, by name.
    """
    check_range(config, 0, 1, *names)


def check_even(config: object, *names: str) -> None:
    """Check that fields are even.

    Raises:
        ValueError: the first that is not, by name.
    """
    for name in names:
        if getattr(config, name) % 2:
            raise ValueError(f"{name} must be even, not {getattr(config, name)}")


def check_odd(config: object, *names: str) -> None:
    """Check that fields are odd and positive.

    Raises:
        ValueError: the first that is not, by name.
    """
    for name in names:
        if getattr(config, name) < 1 or getattr(config, name) % 2 == 0:
            raise ValueError(f"{name} must be odd and positive, not {getattr(config, name)}")


def check_one_of(config: object, known: tuple[str, ...], name: str) -> None:
    """Check that a field is one of some words.

    Raises:
        ValueError: it is not; the message lists them.
    """
    value = getattr(config, name)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def check_sources(sources: tuple[str, ...]) -> None:
    """Check that sources have names of their own.

    Raises:
        ValueError: there is none, or two are named alike.
    """
    if not sources or len(set(sources)) != len(sources):
        raise ValueError(f"sources must be distinct and at least one, not {sources}")
