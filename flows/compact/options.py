"""What ``compact`` is told: where, and whether it only says what it would do."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.running.parameters import RUNTIME, PlaceParameters


class CompactParameters(PlaceParameters):
    """Which manifests to go through."""

    corpus: str = Field("", description="Corpus whose manifests to go through; empty takes all.")
    dry_run: Annotated[bool, RUNTIME] = Field(
        False, description="Only say what would be joined and removed; change nothing."
    )
