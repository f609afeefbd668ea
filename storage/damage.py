"""Damage: a file of the workspace that was whole once, met by whoever reads it.

Whoever opens a part, a description or weights raises what :func:`damaged` makes, so that damage is
one line with the file's name and the way out, wherever it is met.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import UserError

ADVICE = "`silentmix fsck` says what it touches and how to mend it"


class DamagedError(UserError):
    """A file of the workspace that can't be read any more, or holds other than it did."""


def damaged(url: str, why: object) -> DamagedError:
    """The error that names a damaged file, why it is taken for one, and the way out."""
    return DamagedError(f"{url}: damaged ({' '.join(str(why).split())}); {ADVICE}")


def without_advice(said: str) -> str:
    """What an error says of damage, for whoever gives the advice in another way."""
    return said.removesuffix(f"; {ADVICE}")


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn what parsers of JSON say of damage into one line that names the file.

    Raises:
        DamagedError: the file is damaged.
    """
    try:
        yield
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged(url, error) from error
    except RecursionError as error:
        raise damaged(url, "nested too deep") from error
