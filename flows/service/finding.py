"""What a check of ``silentmix doctor`` found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        said: what is so.
        mend: what to do about it; empty if nothing is wrong.
    """

    said: str
    mend: str = ""
