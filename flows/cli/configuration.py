"""The configuration file (YAML with the fields of the parameters, by stage) and single options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from flows.running.yaml_text import read_yaml
from storage.errors import UserError


def load_config(path: str) -> dict[str, Any]:
    """Read a YAML configuration.

    Raises:
        UserError: the file is missing or holds no mapping.
    """
    try:
        loaded = read_yaml(path)
    except OSError as error:
        raise UserError(f"{path}: no configuration file to read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: a configuration maps fields to values, this is something else")
    return loaded


def stage_section(config: dict[str, Any], stage: str, known: dict[str, set[str]]) -> dict[str, Any]:
    """The fields of one stage: those at the top of the file, and over them the stage's section.

    Args:
        config: what the file holds.
        stage: the stage's command.
        known: every section's name and fields; ``""`` holds those at the top.

    Raises:
        UserError: a field or a section that nobody knows, by name.
    """
    sections = sorted(set(known) - {""})
    for name, value in config.items():
        section = str(name).replace("_", "-")
        if section in sections:
            if not isinstance(value, dict | None):
                raise UserError(f"configuration: {name} is a section with fields, not {value!r}")
            unknown = sorted(set(map(str, value or {})) - known[section])
            if unknown:
                raise UserError(
                    f"configuration: {name} has no field {unknown[0]!r}; it has "
                    f"{', '.join(sorted(known[section]))}"
                )
            for field, told in (value or {}).items():
                _require_plain(f"{name}.{field}", told)
        elif name not in known[""]:
            raise UserError(
                f"configuration: unknown field {name!r}; at the top there may be "
                f"{', '.join(sorted(known['']))}, and the sections {', '.join(sections)}"
            )
        else:
            _require_plain(str(name), value)
    top = {name: value for name, value in config.items() if name in known[stage]}
    fields = config.get(stage.replace("-", "_"), config.get(stage)) or {}
    return {**top, **fields}


def _require_plain(field: str, value: object) -> None:
    """Refuse fields below a field, of which none has any."""
    if isinstance(value, dict):
        raise UserError(f"configuration: {field} has a value or a list of them, not {value!r}")


def option(arguments: Sequence[str], name: str) -> tuple[str, list[str]]:
    """The value of ``--name VALUE`` or ``--name=VALUE``, or empty; and the other arguments.

    >>> option(["run", "--config", "a.yaml", "--workers=2"], "config")
    ('a.yaml', ['run', '--workers=2'])

    Raises:
        UserError: no value follows.
    """
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == f"--{name}":
            used = 1 if equals else 2
            if not equals and position + 1 == len(arguments):
                raise UserError(f"--{name} wants a value; see --help")
            value = value if equals else arguments[position + 1]
            return value, [*arguments[:position], *arguments[position + used :]]
    return "", list(arguments)
