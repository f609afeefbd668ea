"""A folder for the user that is there whole, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import UserError


def require_new(path: Path) -> None:
    """Refuse a folder that is there.

    Raises:
        UserError: it is.
    """
    if path.exists():
        raise UserError(f"output: {path} exists; name another folder, or remove it")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` if all goes well and is gone otherwise.

    Raises:
        UserError: ``path`` exists.
    """
    require_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield made
        made.chmod(0o755)
        made.rename(path)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
