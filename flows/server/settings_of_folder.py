"""Settings of libraries in the folder that a command is started in, which are not to be taken.

Prefect, matplotlib and numba look for files there wherever they are imported. Somebody who stands
in a folder of music that came from a stranger has not chosen them, and they may have anything run:
one of Prefect's names a file that calls what it wants, one of numba's a folder of compiled code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

from storage.errors import UserError

MOST_BYTES = 2**20


def refuse_settings_of(folder: Path) -> None:
    """Refuse to start where files would set up what we use.

    Raises:
        UserError: names the file, and the way out.
    """
    files: dict[str, Callable[[str], bool]] = {
        ".env": lambda text: "prefect_" in text.lower(),
        "prefect.toml": lambda _: True,
        "pyproject.toml": _has_table,
        "matplotlibrc": lambda _: True,
        ".numba_config.yaml": lambda _: True,
    }
    for name, sets_up in files.items():
        path = folder / name
        if path.exists() and sets_up(_beginning(path)):
            raise UserError(
                f"{path}: would set up a library that silentmix uses, in a folder that may be a "
                "stranger's; start silentmix in another folder, and put what you want of it into "
                "the environment (PREFECT_…) or the library's settings of your home"
            )


def _beginning(path: Path) -> str:
    """Of a file, or empty of what is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", "replace")


def _has_table(text: str) -> bool:
    try:
        tools = tomllib.loads(text).get("tool")
        return isinstance(tools, dict) and "prefect" in tools
    except (ValueError, RecursionError):
        return True  # Prefect can't read it either, and says so in a traceback
