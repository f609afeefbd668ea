"""What keeps two studies off one workspace: both would begin the same trainings."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import UserError

LOCK = ".study-paper.lock"


@contextmanager
def only_study(root: Path) -> Iterator[None]:
    """Be the only study that trains in a workspace.

    Raises:
        UserError: another one does.
    """
    with (root / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"--workspace {root}: a study is at work in it already; wait for it, stop it, or "
                "write the page of what there is with --no-train"
            ) from error
        yield
