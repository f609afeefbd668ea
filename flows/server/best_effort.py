"""What is told to the Prefect server beside the work, and must neither stop it nor hold it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger


@contextmanager
def best_effort(what: str, *, retries: int = 2) -> Iterator[None]:
    """Tell the server something; where it can't be told, the work goes on.

    Args:
        what: completes "the Prefect server was not told …".
        retries: how often to try again; Prefect waits 2 s before the first time, then twice as
            long each.
    """
    try:
        with _retries(retries):
            yield
    except (httpx.HTTPError, ObjectNotFound) as error:
        get_logger("silentmix").warning(
            "the Prefect server was not told %s (%s); the work goes on", what, error
        )


def _retries(most: int) -> SettingsContext:
    """Prefect's settings, but for how often its client tries again.

    Its own ``temporary_settings`` reads the environment and checks all settings anew, which takes
    longer than most of what is told here.
    """
    current = get_settings_context()
    client = current.settings.client.model_copy(update={"max_retries": most})
    settings = current.settings.model_copy(update={"client": client})
    return SettingsContext(profile=current.profile, settings=settings)
