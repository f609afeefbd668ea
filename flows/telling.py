"""What is told to the Prefect server beside the work, and must not stop it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.logging import get_logger


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Tell the server something; where it can't be told, the work goes on.

    Args:
        what: completes "the Prefect server was not told …".
    """
    try:
        yield
    except httpx.HTTPError as error:
        get_logger("silentmix").warning(
            "the Prefect server was not told %s (%s); the work goes on", what, error
        )
