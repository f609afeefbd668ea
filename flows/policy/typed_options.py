"""How an option of a stage is typed: alone, or in the chain, where it has its stage's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flows.running.parameters import option_words

_of_chain: ContextVar[bool] = ContextVar("silentmix_of_chain", default=False)


@contextmanager
def of_chain() -> Iterator[None]:
    """What is refused meanwhile names options as the command of the chain takes them."""
    token = _of_chain.set(True)
    try:
        yield
    finally:
        _of_chain.reset(token)


def typed(stage: str, name: str, value: object = None) -> str:
    """An option, with its value where there is one, as it is typed.

    >>> typed("extract", "min_songs", 3), typed("extract", "allow_insufficient_evidence", True)
    ('--min-songs 3', '--allow-insufficient-evidence')
    >>> with of_chain():
    ...     typed("ingest", "valid_share")
    '--ingest.valid-share'
    """
    option = f"{stage}.{name}" if _of_chain.get() else name
    if value is None:
        return option_words(option, True)[0]
    return " ".join(option_words(option, value))
