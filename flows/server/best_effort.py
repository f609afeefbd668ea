"""What is told to the Prefect server beside the work, and must neither stop it nor hold it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings


@contextmanager
def best_effort(what: str, *, retries: int = 2) -> Iterator[None]:
    """Tell the server something; where it can't be told, the work goes on.

    Args:
        what: completes "the Prefect server was not told …".
        retries: how often to try again; Prefect waits 2 s before the first time, then twice as
            long each.
    """
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: retries}):
            yield
    except (httpx.HTTPError, ObjectNotFound) as error:
        get_logger("silentmix").warning(
            "the Prefect server was not told %s (%s); the work goes on", what, error
        )
